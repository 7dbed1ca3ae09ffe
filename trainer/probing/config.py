"""The config of a training of probes."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from trainer.compute import ComputeConfig
from trainer.config import RunConfig
from trainer.distributed import World
from trainer.learner import Learner
from trainer.model.sizes import ModelConfig
from trainer.optimiser import OptimiserConfig
from trainer.probing.cells import GridConfig, Kind, Layers, distinct
from trainer.stream.augment import AugmentConfig, JitterConfig, RandConfig
from trainer.stream.config import StreamConfig
from trainer.stream.opening import Named

POINTED_AT = {"weights", "model", "train", "test", "layers"}
"""Fields that only say where something lies, or leave open which: the stream and the learner tell
what is learnt from what."""


def _ascending(layers: Layers) -> Layers:
    if list(layers) != sorted(set(layers)):
        raise ValueError(f"{list(layers)} are not in ascending order; name each block once")
    return layers


Blocks = Annotated[tuple[NonNegativeInt, ...], AfterValidator(_ascending), Field(min_length=1)]
"""Blocks of a trunk by number, from 0, each once."""


class ProbeAugmentConfig(AugmentConfig, frozen=True):
    """Crops, flips and colours as AIMv2's probes see them (arXiv 2411.14402, appendix)."""

    min_scale: float = Field(default=0.08, gt=0, le=1)
    """Least share of the image's area in a crop."""

    jitter: JitterConfig | None = JitterConfig(
        brightness=0.3, contrast=0.3, saturation=0.3, hue=0, probability=1
    )
    """Random changes of colour: 0.3 of all but the hue. AIMv2's table lists it beside RandAugment;
    timm would leave it out then, so what the authors ran cannot be told from it."""

    rand: RandConfig | None = RandConfig()
    """RandAugment: timm's rand-m9-mstd0.5-inc1. null: none."""


class ProbeStreamConfig(StreamConfig, frozen=True):
    """Batches of a probe: AIMv2's are 1024 for ImageNet and 512 for other sets."""

    augment: ProbeAugmentConfig = ProbeAugmentConfig()
    """Crops, flips and colours."""


class ProbeOptimiserConfig(OptimiserConfig, frozen=True):
    """AdamW as AIMv2's probes are trained; `grid` has the rates and decays."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments."""

    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps that the rate rises for: 5 of 100 epochs for ImageNet. 0 for other sets."""

    final_lr: float = Field(default=1e-5, ge=0)
    """Learning rate that the decay of every head ends at."""

    clip: float | None = Field(default=3.0, gt=0)
    """Largest L2 norm of a head's gradient, each for itself; null: any."""


class ProbeConfig(RunConfig, frozen=True):
    """Attentive and linear probes of a frozen trunk, a grid of them in one pass over the images."""

    program: ClassVar[str] = "trainer.probing"

    weights: str = Field(min_length=1)
    """The trunk: a run's folder, one of its checkpoints, an export, or a file of ml-aim's."""

    model: ModelConfig | None = None
    """The trunk's shape, for weights that do not say it."""

    train: str = Field(min_length=1)
    """A dataset or snapshot whose captions are classes."""

    test: str = Field(min_length=1)
    """The same to judge the heads on."""

    classes: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(min_length=2)
    """The classes: captions of both sets. The place is the class number."""

    kinds: Annotated[tuple[Kind, ...], AfterValidator(distinct)] = Field(
        default=("attentive", "linear"), min_length=1
    )
    """Heads that are trained, side by side."""

    layers: Literal["last", "best", "search"] | Blocks = "last"
    """Blocks whose outputs are averaged: the last six; those that AIM's release found best for each
    of its sizes; every six neighbours, side by side; or blocks by number, from 0. A search holds
    the features of all windows: of a deep trunk, give it a smaller batch."""

    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """What a patch sees of the others in the trunk; the paper's probes see all."""

    grid: GridConfig = GridConfig()
    """Rates and decays that are tried, each by a head of its own."""

    hold_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of `train` that trains nothing and chooses of the grid. 0: the test set chooses, as
    is usual, which flatters the figures a little."""

    stream: ProbeStreamConfig
    """Batch size, lanes, crops and their seed."""

    optimiser: ProbeOptimiserConfig = ProbeOptimiserConfig()
    """AdamW and its schedule."""

    @property
    def data(self) -> Named:
        """The training set."""
        return self.train

    def learner(self, world: World, names: list[str]) -> Learner:
        """The heads on one rank, and the trunk."""
        from trainer.probing.learner import learner  # which is told the config

        return learner(self, world, names)

    def searching(self) -> "ProbeConfig | None":
        """The run before this one that finds its window, in `<run>/search`: every window side by
        side, with the middle of the grid. None if `layers` asks for no search.

        `choosing.best_window` reads what it found in its last validation.
        """
        if self.layers != "search":
            return None
        checkpoints = f"{self.checkpoints}/search" if self.checkpoints else None
        changes = {"run": f"{self.run}/search", "checkpoints": checkpoints}
        return self.model_copy(update=changes | {"grid": self.grid.middle()})

    def found(self, window: Layers) -> "ProbeConfig":
        """This run with the window that the search found."""
        return self.model_copy(update={"layers": tuple(window)})

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on, but for the trunk and the images."""
        return {name: value for name, value in super().identity.items() if name not in POINTED_AT}

    @model_validator(mode="after")
    def _the_grid_has_rates_and_decays(self) -> Self:
        usual = ProbeOptimiserConfig()
        for field in ("lr", "weight_decay"):
            if getattr(self.optimiser, field) != getattr(usual, field):
                raise ValueError(f"optimiser.{field}: leave it out; grid.{field} has those tried")
        return self

    @model_validator(mode="after")
    def _a_frozen_trunk_is_computed_in_one_way(self) -> Self:
        usual = ComputeConfig()
        for field in ("recompute", "compile", "shard_over"):
            if getattr(self.compute, field) != getattr(usual, field):
                raise ValueError(
                    f"compute.{field}: means nothing to a frozen trunk, which every rank holds "
                    "whole; leave it out"
                )
        return self
