"""What a probe of the release learns from a batch: one process, one pass, plain torch, float64."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.export.read import read
from trainer.pixels import normalise
from trainer.probing.config import ProbeConfig
from trainer.stream.batch import Batch
from trainer.stream.stream import Stream


class Plain(nn.Module):
    """The release's head as it is described: keys and values of every patch."""

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.bn = nn.BatchNorm1d(width, affine=False, eps=1e-6)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(x.transpose(1, 2)).transpose(1, 2)
        q = self.cls_token.expand(len(x), -1, -1)
        q, k, v = (
            y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (q, self.k(x), self.v(x))
        )
        pooled = functional.scaled_dot_product_attention(q, k, v)
        return self.linear(pooled.transpose(1, 2).flatten(1))


class Averaging(nn.Module):
    """A linear probe."""

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(width, affine=False, eps=1e-6)
        self.linear = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.bn(x.transpose(1, 2)).mean(2))


PLAIN = {"attentive": Plain, "linear": Averaging}


def first_batch(config: ProbeConfig) -> Batch:
    with Stream(config.data, config.stream) as stream:
        return next(iter(stream))


def features(config: ProbeConfig, images: Tensor, layers: tuple[int, ...]) -> Tensor:
    """The mean of these blocks' outputs, taken where the blocks give them."""
    model = read(config.weights).model.double()
    outputs: list[Tensor] = []
    for number in layers:
        model.trunk.blocks[number].register_forward_hook(lambda *found: outputs.append(found[2]))
    pixels = normalise(images, torch.device("cpu")).double()
    sees = model.config.num_patches if config.attention == "bidirectional" else 1
    with torch.no_grad():
        model.features(pixels, torch.full((len(images),), sees))
    return torch.stack(outputs).mean(0)


def loss_and_gradient(
    kind: str, state: dict[str, Tensor], x: Tensor, labels: Tensor, heads: int
) -> tuple[float, dict[str, Tensor]]:
    """Of a head that begins with this state."""
    head = PLAIN[kind](x.shape[2], heads, len(state["linear.weight"])).double()
    head.load_state_dict(state)
    loss = functional.cross_entropy(head(x), labels)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in head.named_parameters()}
