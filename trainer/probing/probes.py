"""All heads of a run as one module: what is optimised and saved."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.probing.cells import Cell, Layers
from trainer.probing.heads import KINDS, Attentive, Head, Norm, init_weights, logits

PER_IMAGE = ("v.weight", "linear.weight")
"""Matrices that an image's features are multiplied with; the rest of a head, once a step."""


class Probes(nn.Module):
    """A head for each cell; those of one window of layers share a norm, and stand together."""

    not_finite: Tensor
    """(heads,) int64: updates made with a gradient of zero; see `ProbeLearner.clipped`."""

    def __init__(self, cells: Sequence[Cell], width: int, num_heads: int, classes: int) -> None:
        """Of a trunk with that many channels and attention heads; window by window."""
        super().__init__()
        self.cells = list(cells)
        self.norms: dict[Layers, Norm] = {cell.layers: Norm(width) for cell in cells}
        made: list[Head] = [
            KINDS[cell.kind](self.norms[cell.layers], width, num_heads, classes) for cell in cells
        ]
        self.heads = nn.ModuleList(made)
        self._readers = {
            layers: [head for head in made if head.bn is norm]
            for layers, norm in self.norms.items()
        }
        self.register_buffer("not_finite", torch.zeros(len(made), dtype=torch.int64))

    @property
    def windows(self) -> list[Layers]:
        """The layers that are read, in the order of the cells."""
        return list(self.norms)

    def init_weights(self, seed: int) -> None:
        """Draws all heads anew; those of a kind begin alike."""
        for heads in self._readers.values():
            for head in heads:
                init_weights(head, seed)

    def flops(self, patches: int) -> float:
        """Of all heads, of an image of so many patches, forwards and backwards.

        Features need no gradient, so attention over them costs one product backwards, not two.
        """
        weights = sum(p.numel() for n, p in self.named_parameters() if n.endswith(PER_IMAGE))
        attentive = [head for head in self.heads if isinstance(head, Attentive)]
        attended = sum(patches * head.cls_token.numel() * head.num_heads for head in attentive)
        return 6.0 * weights + 8.0 * attended

    def logits(self, layers: Layers, x: Tensor) -> list[Tensor]:
        """(B, C) of each head that reads these layers, from normalised features (B, K, D)."""
        return logits(self._readers[layers], x)

    def evaluated(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(B, C) of each head, from the features of each window, which are normalised in place by
        the running averages."""
        return [
            given
            for (layers, norm), x in zip(self.norms.items(), features, strict=True)
            for given in self.logits(layers, norm.average(x))
        ]
