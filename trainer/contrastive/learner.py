"""A CLIP model as what a run learns: gathered features, local loss."""

from collections.abc import Callable
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from pipeline.clip import names
from pipeline.clip.opening import Opened, new_model, open_model
from pipeline.format.errors import HeadraceError
from trainer import compute, distributed, optimiser
from trainer.contrastive import captions
from trainer.contrastive.caching import Features, backward, backward_in_parts
from trainer.contrastive.config import FilterConfig, check_size
from trainer.contrastive.towers import Towers, evaluating, forward_flops
from trainer.contrastive.validation import Validation
from trainer.distributed import World
from trainer.parts import micro_batches, part_of, together
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.jitter import jittered
from trainer.stream.keyed import base_key
from trainer.stream.transfer import sent


class FilterLearner:
    """The `Learner` of a filter."""

    def __init__(
        self,
        config: FilterConfig,
        world: World,
        sources: list[str],
        opened: Opened,
        pretrained: str | None = None,
    ) -> None:
        """`sources` are the stream's, `pretrained` digests the weights that `opened` has.

        Takes the model over. Raises HeadraceError if it cannot be trained so.
        """
        self.config, self.world, self.sources = config, world, sources
        self.opened, self.pretrained = opened, pretrained
        self.pixels = {key: tuple(opened.preprocess_cfg[key]) for key in ("mean", "std")}
        self.model = Towers(opened.clip)
        _check(config, world, sources, opened, self.model)
        self.flops = 3 * forward_flops(self.model, *self._two())
        self.model.prepare(config.compute, world.device)
        self.model.to(world.device)
        distributed.shard(self.model, self.model.blocks(), world, config.compute.shard_over)
        self.validation = Validation.open(config, world) if config.validation else None
        self.loss = open_clip.ClipLoss(
            local_loss=True, gather_with_grad=True, rank=world.rank, world_size=world.size
        )

    def _two(self) -> tuple[Tensor, Tensor]:
        """Images and captions of the sizes that come; a BatchNorm can do nothing with one."""
        size = self.config.stream.image_size
        return torch.zeros(2, 3, size, size), self.opened.tokenizer(["", ""])

    @property
    def probe(self) -> nn.Module:
        """The patch embedding."""
        return self.model.stem()

    @property
    def identity(self) -> dict[str, Any]:
        """The model, the pixels that it is shown, its first weights, and the precision chosen."""
        return {
            "compute": {"precision": compute.name_of(self.config.compute, self.world.device)},
            "model": self.opened.model_cfg,
            "pixels": {key: list(values) for key, values in self.pixels.items()},
            "pretrained_sha256": self.pretrained,
        }

    @property
    def snapshots(self) -> tuple[str, ...]:
        """The held-out pairs."""
        return (self.validation.source.shards.label,) if self.validation else ()

    def groups(self) -> list[dict[str, Any]]:
        """Matrices decay; gains, biases and the temperature do not, as in open_clip's training."""
        return optimiser.parameter_groups(self.model, self.config.optimiser, _decays)

    def rates(self, step: int) -> list[float]:
        """One for both groups."""
        rate = optimiser.learning_rate(step, self.config.steps, self.config.optimiser)
        return [rate, rate]

    def clipped(self) -> Tensor:
        """Of the whole model's gradient."""
        return optimiser.clip(self.model, self.config.optimiser)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the mean of all ranks' losses, each of its own rows and columns against all pairs.

        FSDP averages gradients over ranks, which is that mean's. A pair is flawed where its
        features are not finite. In one of the two directions every row meets them, on all ranks,
        so then no gradient is finite anywhere.
        """
        depth = self.config.stream.batch // self.config.stream.lanes
        slots = micro_batches(depth, self.config.compute.micro_batches)
        colours = self.config.stream.augment.jitter
        images = jittered(batch, self.sources, self.config.stream.seed, colours)
        texts = captions.captions(batch, self.sources, self.config.templates, self.config.seed)
        inputs = self._inputs(images, texts)

        def features(part: int, last: bool) -> Features:
            distributed.add_up_copies(self.model, last)
            self._seed(batch.step, part)
            return self._features(*(part_of(x, depth, slots[part]) for x in inputs))

        if len(slots) == 1:
            seen = [features(0, True)]
            loss = backward(self.loss, seen[0])
        else:
            loss, seen = backward_in_parts(self.loss, len(slots), features)
        flaws = [_flaws(image, caption) for image, caption, _ in seen]
        return loss / self.world.size, together(flaws, depth)

    def _inputs(self, images: Tensor, texts: list[str]) -> tuple[Tensor, Tensor]:
        """On the device, and images as they are stored: a quarter of what they are to the model."""
        device = self.world.device
        return images.to(device), sent(self.opened.tokenizer(texts), device)

    def _features(self, images: Tensor, tokens: Tensor) -> Features:
        device = self.world.device
        pixels = normalise(images, device, self.pixels["mean"], self.pixels["std"])
        with compute.autocast(self.config.compute, device):
            made: Features = self.model(pixels, tokens)
        return made

    def _seed(self, step: int, part: int) -> None:
        """Dropout, where a model has some, draws from torch's own generator, by the same key in
        both passes of a part. The draws depend on how many ranks and parts there are, so exact is
        a resume on as many."""
        torch.manual_seed(base_key(self.config.seed, "dropout", step, self.world.rank, part))

    def updated(self) -> None:
        """Keeps the temperature in bounds."""
        self.model.bound()

    def validate(self, step: int, poll: Callable[[], None]) -> dict[str, Any] | None:
        """Figures of the held-out pairs, if there are any."""
        if self.validation is None:
            return None
        with evaluating(self.model):
            return {"validation": self.validation.figures(self._embed, poll)}

    @torch.no_grad()
    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        image, caption, _ = self._features(*self._inputs(batch.images, batch.captions))
        return image, caption


def learner(config: FilterConfig, world: World, sources: list[str]) -> FilterLearner:
    """On this rank of `world`, fed by these sources.

    Raises HeadraceError if the model cannot be had, or not be trained so.
    """
    opened, pretrained = _open(config)
    if pretrained and world.size > 1 and len(set(distributed.gather(pretrained))) > 1:
        raise HeadraceError(
            f"model: {config.model} is not the same on all ranks; "
            "give their machines the same files"
        )
    return FilterLearner(config, world, sources, opened, pretrained)


def _open(config: FilterConfig) -> tuple[Opened, str | None]:
    """The model, and what its weights are if they are not drawn by the config's seed."""
    if config.begins_anew or isinstance(config.model, dict):
        return new_model(config.model, config.seed, "model"), None
    opened = open_model(config.model, config.pretrained, field="model")
    return opened, names.digest(config.model, config.pretrained, "model")


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2


def _check(
    config: FilterConfig, world: World, sources: list[str], opened: Opened, model: Towers
) -> None:
    captions.check(config.templates, sources)
    if opened.model_cfg["text_cfg"].get("hf_tokenizer_name"):
        raise HeadraceError(
            "model: has a tokenizer of the hub, which the folder that a run exports would lack; "
            "name one without `hf_tokenizer_name`"
        )
    try:
        check_size(config.stream.image_size, model.clip.visual.image_size)
    except ValueError as error:
        raise HeadraceError(str(error)) from error
    if config.stream.lanes % world.size:
        raise HeadraceError(
            f"stream.lanes {config.stream.lanes} must be a multiple of {world.size} ranks: "
            "open_clip's loss gathers equally many pairs from each"
        )
    if model.normalises_batches() and (world.size > 1 or config.compute.micro_batches > 1):
        raise HeadraceError(
            "model: normalises over the images of a batch, so it would be another one in parts; "
            "train it on one rank with compute.micro_batches 1, or name one without BatchNorm"
        )


def _flaws(image: Tensor, caption: Tensor) -> Tensor:
    """1 for each pair of which a feature is not finite, else 0: (n,) float32."""
    finite = torch.isfinite(image).all(dim=1) & torch.isfinite(caption).all(dim=1)
    return (~finite).float()
