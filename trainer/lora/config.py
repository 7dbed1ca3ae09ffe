"""The config of a training with LoRA."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from trainer.compute import ComputeConfig
from trainer.config import RunConfig
from trainer.distributed import World
from trainer.learner import Learner
from trainer.lora.adapters import Part
from trainer.model.sizes import ModelConfig
from trainer.optimiser import OptimiserConfig
from trainer.probing.cells import distinct
from trainer.probing.config import POINTED_AT, Blocks, ProbeStreamConfig
from trainer.stream.opening import Named


class LoraOptimiserConfig(OptimiserConfig, frozen=True):
    """AdamW. The paper's recipe for LoRA could not be read: these are recalled, not confirmed, and
    the rate is our choice."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of adapters and head."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments."""

    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay of all that is trained."""

    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps that the rate rises for: 5 of 100 epochs."""

    clip: float | None = Field(default=3.0, gt=0)
    """Largest L2 norm of the gradient of all that is trained; null: any."""


class LoraConfig(RunConfig, frozen=True):
    """Low-rank adapters of a trunk and an attentive head, trained together on classes."""

    program: ClassVar[str] = "trainer.lora"

    weights: str = Field(min_length=1)
    """The trunk: a run's folder, one of its checkpoints, an export, or a file of ml-aim's."""

    model: ModelConfig | None = None
    """The trunk's shape, for weights that do not say it."""

    train: str = Field(min_length=1)
    """A dataset or snapshot whose captions are classes."""

    test: str = Field(min_length=1)
    """The same to judge on."""

    classes: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(min_length=2)
    """The classes: captions of both sets. The place is the class number."""

    rank: int = Field(default=8, gt=0)
    """Of the adapters (AIM §5.5)."""

    alpha: float | None = Field(default=None, gt=0)
    """Over `rank` it is the factor of what an adapter adds; the rank itself without it."""

    adapt: Annotated[tuple[Part, ...], AfterValidator(distinct)] = Field(
        default=("q", "v", "proj"), min_length=1
    )
    """Matrices of attention that have adapters; the default is the release's."""

    layers: Literal["last", "best"] | Blocks = "last"
    """Blocks whose outputs the head reads, averaged: see `ProbeConfig.layers`. No block after them
    is run or adapted."""

    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """What a patch sees of the others."""

    mixup: float | None = Field(default=None, gt=0)
    """Both parameters of the Beta that mixes an image with its neighbour (arXiv 1710.09412); none
    without it. The paper cites mixup, but not how much."""

    erasing: float = Field(default=0.0, ge=0, le=1)
    """Share of images that lose a box (random erasing, arXiv 1708.04896)."""

    stream: ProbeStreamConfig
    """Batch size, lanes, crops and their seed."""

    optimiser: LoraOptimiserConfig = LoraOptimiserConfig()
    """AdamW and its schedule."""

    @property
    def data(self) -> Named:
        """The training set."""
        return self.train

    def learner(self, world: World, names: list[str]) -> Learner:
        """Adapters and head on one rank, and the trunk."""
        from trainer.lora.learner import learner  # which is told the config

        return learner(self, world, names)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on, but for the trunk and the images."""
        return {name: value for name, value in super().identity.items() if name not in POINTED_AT}

    @model_validator(mode="after")
    def _neighbours_are_there_to_mix(self) -> Self:
        if self.mixup and self.stream.batch == self.stream.lanes:
            raise ValueError(
                "mixup: every lane has one image a step, and so no neighbour; "
                "use fewer stream.lanes"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_sharded(self) -> Self:
        if self.compute.shard_over != ComputeConfig().shard_over:
            raise ValueError("compute.shard_over: every rank holds the trunk whole; leave it out")
        return self
