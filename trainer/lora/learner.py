"""LoRA as what a run learns: adapters of a frozen trunk, and the head that reads it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer import compute, distributed, flops, optimiser
from trainer.distributed import World
from trainer.frozen import KERNELS, Frozen, check, means, open_frozen
from trainer.lora import adapters, mixing
from trainer.lora.adapters import Adapters
from trainer.lora.config import LoraConfig
from trainer.lora.norm import normalised
from trainer.model.aim import count_parameters
from trainer.pixels import normalise
from trainer.probing import heads, layers
from trainer.probing.heads import Attentive, Norm
from trainer.probing.judging import Judge
from trainer.probing.labels import Classes
from trainer.probing.reading import flaws
from trainer.stream.batch import Batch
from trainer.stream.jitter import jittered
from trainer.stream.ordered import held_out
from trainer.stream.transfer import sent

Window = tuple[int, ...]


class Tuned(nn.Module):
    """What is trained and saved: the trunk is in neither."""

    def __init__(self, frozen: Frozen, window: Window, config: LoraConfig) -> None:
        super().__init__()
        told = frozen.width, max(window) + 1, config.rank, config.adapt, config.alpha
        self.adapters = Adapters(*told)
        classes = len(config.classes)
        self.head = Attentive(Norm(frozen.width), frozen.width, frozen.num_heads, classes)
        self.adapters.init_weights(config.seed)
        heads.init_weights(self.head, config.seed)


class LoraLearner:
    """The `Learner` of LoRA. Adapters, head and trunk are whole on every rank."""

    def __init__(
        self,
        config: LoraConfig,
        world: World,
        names: list[str],
        frozen: Frozen,
        window: Window,
        judge: Judge,
    ) -> None:
        """`names` are the stream's sources; adapters are attached to the trunk of `frozen`."""
        self.config, self.world, self.names = config, world, names
        self.frozen, self.window, self.judge = frozen, window, judge
        self.model = Tuned(frozen, window, config).to(world.device)
        self.classes = Classes(config.classes)
        self.loss = torch.zeros((), device=world.device)
        """Of the last batch over all ranks."""
        adapters.attach(frozen.model, self.model.adapters)
        for block in frozen.model.trunk.blocks[: max(window) + 1]:
            setattr(block, "recompute", config.compute.recompute)  # noqa: B010
            if compute.compiles(config.compute, world.device):
                compute.compile_block(block)
        frozen.model.train()

    @property
    def probe(self) -> nn.Module:
        """The patch embedding."""
        return self.frozen.model.preprocessor

    @property
    def flops(self) -> float:
        """The trunk forwards, and backwards to its activations: its weights get no gradient. What
        adapters and head add is left out."""
        shape = self.frozen.model.config
        whole = flops.image_flops(shape, kernel=KERNELS[self.frozen.sees])
        return 2 * (whole.trunk + whole.attention) * (max(self.window) + 1) / shape.depth

    @property
    def identity(self) -> dict[str, Any]:
        """The trunk and the blocks that are read of it, and the precision chosen."""
        return {
            "compute": {"precision": compute.name_of(self.config.compute, self.world.device)},
            "weights": self.frozen.identity,
            "layers": list(self.window),
        }

    @property
    def snapshots(self) -> tuple[str, ...]:
        """What it is judged on."""
        return (self.judge.source.shards.label,)

    def groups(self) -> list[dict[str, Any]]:
        """One: all weights decay."""
        decay = self.config.optimiser.weight_decay
        return [{"params": list(self.model.parameters()), "weight_decay": decay}]

    def rates(self, step: int) -> list[float]:
        """Of adapters and head alike."""
        return [optimiser.learning_rate(step, self.config.steps, self.config.optimiser)]

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the mean loss over the images of all ranks.

        Micro-batches give the gradient of the batch at once: the norm sees the features of all
        parts, and each part is run again to pass its gradient on (GradCache, arXiv 2101.06983).
        """
        images = self._pixels(batch)
        parts = images.chunk(self.config.compute.micro_batches)
        with torch.set_grad_enabled(len(parts) == 1):
            made = [self._features(part) for part in parts]
        features = torch.cat(made).detach().requires_grad_()
        loss = self._loss(features, batch)
        loss.backward()
        assert features.grad is not None
        for n, (part, gradient) in enumerate(
            zip(parts, features.grad.chunk(len(parts)), strict=True)
        ):
            again = made[n] if len(parts) == 1 else self._features(part)
            again.backward(gradient)
        self._add_up(loss.detach())
        return loss.detach(), flaws([features.detach()], torch.arange(len(images)), len(images))

    def _pixels(self, batch: Batch) -> Tensor:
        """(n, 3, H, W) float32, normalised, erased and mixed."""
        config, device = self.config, self.world.device
        stream = config.stream
        shown = jittered(batch, self.names, stream.seed, stream.augment.jitter)
        images = normalise(shown, device)
        if config.erasing:
            edges = mixing.boxes(batch, config.seed, config.erasing, stream.image_size)
            images = mixing.erase(images, sent(edges, device))
        if config.mixup:
            own, partner = (sent(one, device) for one in self._mixed(batch))
            images = images.lerp(images[partner], (1 - own)[:, None, None, None])
        return images

    def _mixed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        stream = self.config.stream
        own = mixing.shares(batch, self.config.seed, self.config.mixup)
        return own, mixing.partners(batch, stream.batch // stream.lanes)

    def _features(self, images: Tensor) -> Tensor:
        with compute.autocast(self.config.compute, self.world.device):
            return means(self.frozen.model, images, [self.window], self.frozen.sees)[0]

    def _loss(self, features: Tensor, batch: Batch) -> Tensor:
        """This rank's share of the mean loss over all ranks' images."""
        numbers = self.classes.labels(batch, range(len(batch.captions)))
        right = torch.tensor(numbers, dtype=torch.int64)
        own, partner = self._mixed(batch)
        own, right, other = (sent(one, features.device) for one in (own, right, right[partner]))
        head = self.model.head
        (logits,) = heads.logits([head], normalised(head.bn, features))
        losses = own * _each(logits, right) + (1 - own) * _each(logits, other)
        return losses.sum() / self.config.stream.batch

    def _add_up(self, loss: Tensor) -> None:
        """Gradients and the loss, over all ranks, in one message."""
        tensors = [loss, *(p.grad for p in self.model.parameters() if p.grad is not None)]
        if self.world.size > 1:
            summed = distributed.total(torch.cat([one.flatten() for one in tensors]))
            pieces = summed.split([one.numel() for one in tensors])
            for one, piece in zip(tensors[1:], pieces[1:], strict=True):
                one.copy_(piece.view_as(one))
            loss = pieces[0].reshape(())
        self.loss = loss

    def clipped(self) -> Tensor:
        """Of all that is trained; not finite where the loss of all ranks is not."""
        return optimiser.clip(self.model, self.config.optimiser) + 0 * self.loss

    def updated(self) -> None:
        """Nothing is bounded."""

    def validate(self, step: int, poll: Callable[[], None]) -> dict[str, Any] | None:
        """The figures on the test set; `trained` adapters `of` the trunk's parameters, and those of
        the head."""
        self.model.eval()
        self.frozen.model.eval()
        try:
            with torch.compiler.set_stance("force_eager"):
                (figures,) = self.judge.figures(self._logits, poll)
        finally:
            self.model.train()
            self.frozen.model.train()
        config, shape = self.config, self.frozen.model.config
        return {
            "probes": {"lora": {"test": figures}},
            "trained": adapters.count(shape, config.rank, config.adapt, max(self.window) + 1),
            "of": count_parameters(shape).backbone,
            "head": sum(p.numel() for p in self.model.head.parameters()),
        }

    def _logits(self, batch: Batch) -> list[Tensor]:
        head = self.model.head
        features = self._features(normalise(batch.images, self.world.device))
        return heads.logits([head], head.bn.average(features))


def learner(config: LoraConfig, world: World, names: list[str]) -> LoraLearner:
    """On this rank of `world`, fed by this source.

    Raises HeadraceError if trunk or test set cannot be had, or do not fit the config.
    """
    frozen = open_frozen(config.weights, world.device, config.model, config.attention)
    check(frozen, config.stream.image_size, world)
    (window,) = layers.resolved(config.layers, frozen)
    batch = max(1, config.stream.batch // (world.size * config.compute.micro_batches))
    source = held_out(config.test, config.stream.patience)
    judge = Judge(source, Classes(config.classes), world, batch, config.stream.image_size)
    return LoraLearner(config, world, names, frozen, window, judge)


def _each(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")
