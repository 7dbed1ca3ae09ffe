"""Probes as what a run learns: a frozen trunk, and heads that each learn for themselves."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer import compute, distributed, optimiser
from trainer.distributed import World
from trainer.frozen import Frozen, check, open_frozen
from trainer.probing import cells, layers
from trainer.probing.cells import Layers
from trainer.probing.config import ProbeConfig
from trainer.probing.judging import Judge, judges
from trainer.probing.labels import Classes, trained
from trainer.probing.probes import Probes
from trainer.probing.reading import Reader, flaws
from trainer.probing.statistics import statistics
from trainer.stream.batch import Batch
from trainer.stream.jitter import jittered
from trainer.stream.transfer import sent


class ProbeLearner:
    """The `Learner` of probes. Heads are whole on every rank; so is the trunk."""

    def __init__(
        self,
        config: ProbeConfig,
        world: World,
        names: list[str],
        frozen: Frozen,
        model: Probes,
        judges: dict[str, Judge | None],
    ) -> None:
        """`names` are the stream's sources; `learner` makes the rest.

        `judges` are asked by name: `test`, and `held_out` if something is.
        """
        self.config, self.world, self.names = config, world, names
        self.frozen, self.model, self.judges = frozen, model, judges
        self.reader = Reader(frozen, model.windows, config.compute, world.device)
        self.classes = Classes(config.classes)
        self.losses = torch.zeros(len(model.cells), device=world.device)
        """Of the last batch over all ranks, one a head."""

    @property
    def probe(self) -> nn.Module:
        """The first norm: what each rank does alone in training mode; the trunk is not in it."""
        return self.model.norms[self.model.windows[0]]

    @property
    def flops(self) -> float:
        """The trunk forwards, the heads forwards and backwards."""
        return self.reader.flops + self.model.flops(self.frozen.model.config.num_patches)

    @property
    def identity(self) -> dict[str, Any]:
        """The trunk and the blocks that are read of it, and the precision chosen."""
        return {
            "compute": {"precision": compute.name_of(self.config.compute, self.world.device)},
            "weights": self.frozen.identity,
            "layers": [list(window) for window in self.model.windows],
        }

    @property
    def snapshots(self) -> tuple[str, ...]:
        """What it is judged on."""
        return tuple(judge.source.shards.label for judge in self.judges.values() if judge)

    def groups(self) -> list[dict[str, Any]]:
        """One a head, all of whose weights decay."""
        return [
            {"params": list(head.parameters()), "weight_decay": cell.weight_decay}
            for cell, head in zip(self.model.cells, self.model.heads, strict=True)
        ]

    def rates(self, step: int) -> list[float]:
        """Each head's own, all of one shape."""
        told = step, self.config.steps, self.config.optimiser
        return [optimiser.learning_rate(*told, peak=cell.lr) for cell in self.model.cells]

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of each head's mean loss over the images that train, on all ranks.

        The loss returned is the mean of the heads' whose own is finite. An image is flawed where
        its features are not finite.
        """
        kept = trained(batch, self.names, self.config.hold_out, self.config.seed)
        rows = torch.from_numpy(np.flatnonzero(kept))
        labels = torch.tensor(self.classes.labels(batch, rows.tolist()), dtype=torch.int64)
        features = self.reader.features(self._images(batch), rows)
        flawed = flaws(features, rows, len(kept))
        self.losses = self._backward(features, sent(labels, self.world.device))
        self._add_up()
        finite = self.losses.isfinite()
        mean = self.losses.where(finite, torch.zeros_like(self.losses)).sum() / finite.sum()
        return mean / self.world.size, flawed

    def _images(self, batch: Batch) -> Tensor:
        stream = self.config.stream
        return jittered(batch, self.names, stream.seed, stream.augment.jitter)

    def _backward(self, features: list[Tensor], labels: Tensor) -> Tensor:
        """Adds this rank's gradients; its share of each head's loss, (heads,)."""
        told = statistics(features)
        moments = zip(told.means, told.variances, strict=True)
        losses = []
        for window, x, (mean, variance) in zip(self.model.windows, features, moments, strict=True):
            norm = self.model.norms[window]
            norm.track(mean, variance, told.images * x.shape[1])
            losses.append(self._of_window(window, norm(x, mean, variance), labels, told.images))
        return torch.cat(losses)

    def _of_window(self, window: Layers, x: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """The same of the heads that read normalised features, in parts as the trunk."""
        parts, losses = self.config.compute.micro_batches, []
        for some, right in zip(x.chunk(parts), labels.chunk(parts), strict=True):
            given = self.model.logits(window, some)
            shares = torch.stack([_sum(one, right) for one in given]) / images
            shares.sum().backward()  # each by the weights of its own head alone
            losses.append(shares.detach())
        return torch.stack(losses).sum(dim=0)

    def _add_up(self) -> None:
        """Gradients and losses, over all ranks: a message a head."""
        if self.world.size == 1:
            return
        for head, loss in zip(self.model.heads, self.losses, strict=True):
            tensors = [loss, *_gradients(head)]
            summed = distributed.total(torch.cat([one.flatten() for one in tensors]))
            for one, part in zip(tensors, summed.split([t.numel() for t in tensors]), strict=True):
                one.copy_(part.view_as(one))

    @torch.no_grad()
    def clipped(self) -> Tensor:
        """Of each head alone. One whose loss or gradient is not finite gets none, and the others
        go on; only if it is none's is the norm of them all not finite.
        """
        gradients = [_gradients(head) for head in self.model.heads]
        norms = torch.stack([nn.utils.get_total_norm(some) for some in gradients])
        finite = norms.isfinite() & self.losses.isfinite()
        largest = math.inf if self.config.optimiser.clip is None else self.config.optimiser.clip
        scales = (largest / (norms + 1e-6)).clamp(max=1).where(finite, torch.zeros_like(norms))
        for some, scale in zip(gradients, scales, strict=True):
            for gradient in some:
                gradient.nan_to_num_(0, 0, 0).mul_(scale)
        self.model.not_finite += ~finite
        norm = norms.where(finite, torch.zeros_like(norms)).norm()
        return norm.where(finite.any(), torch.full_like(norm, math.nan))

    def updated(self) -> None:
        """Nothing is bounded."""

    def validate(self, step: int, poll: Callable[[], None]) -> dict[str, Any] | None:
        """The figures of each cell, on the test set and on what is held out."""
        self.model.eval()
        try:
            judged = {
                name: judge.figures(self._logits, poll) if judge else [None] * len(self.losses)
                for name, judge in self.judges.items()
            }
        finally:
            self.model.train()
        told = zip(self.model.cells, self.model.not_finite.tolist(), strict=True)
        return {
            "probes": {
                cells.name(cell, len(self.model.windows)): cell._asdict()
                | {"layers": list(cell.layers), "not_finite": skipped}
                | {name: figures[n] for name, figures in judged.items()}
                for n, (cell, skipped) in enumerate(told)
            }
        }

    def _logits(self, batch: Batch) -> list[Tensor]:
        return self.model.evaluated(self.reader.features(batch.images))


def learner(config: ProbeConfig, world: World, names: list[str]) -> ProbeLearner:
    """On this rank of `world`, fed by this source.

    Raises HeadraceError if trunk or test set cannot be had, or do not fit the config.
    """
    frozen = open_frozen(config.weights, world.device, config.model, config.attention)
    check(frozen, config.stream.image_size, world)
    windows = layers.resolved(config.layers, frozen)
    every = cells.cells(config.kinds, config.grid, windows)
    model = Probes(every, frozen.width, frozen.num_heads, len(config.classes))
    model.init_weights(config.seed)
    asked = judges(config, world, names[0])
    return ProbeLearner(config, world, names, frozen, model.to(world.device), asked)


def _gradients(head: nn.Module) -> list[Tensor]:
    """After a backward pass, in which every parameter has one."""
    return [p.grad for p in head.parameters() if p.grad is not None]


def _sum(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="sum")
