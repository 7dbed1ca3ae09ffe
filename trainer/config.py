"""The config of a training run: one typed tree, each section beside what it configures."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from pipeline.format import address
from pipeline.format.errors import HeadraceError
from trainer.compute import AimComputeConfig, ComputeConfig
from trainer.distributed import World
from trainer.learner import Learner
from trainer.model.sizes import SIZES, ModelConfig
from trainer.objective.config import ObjectiveConfig
from trainer.optimiser import OptimiserConfig
from trainer.stream.config import StreamConfig
from trainer.stream.opening import Named

FREE_TO_CHANGE = {
    "run",
    "log_every",
    "validate_every",
    "checkpoint_every",
    "keep_checkpoints",
    "checkpoints",
    "stop_within",
    "hang_after",
    "max_skipped",
    "tensorboard",
}
"""Fields that a resume may change: they alter no weight. `threads` does, in the last bits."""


def _named_as_mixture(url: str) -> str:
    if not url.endswith(".json"):
        raise ValueError(f"{url!r} does not end in .json; name a mixture that `headrace mix` wrote")
    return url


MixtureUrl = Annotated[str, AfterValidator(_named_as_mixture)]
"""By its ending a stream tells a mixture from a snapshot."""


def _on_a_disk(path: str) -> str:
    if "://" in path:
        raise ValueError(
            f"{address.redact(path)!r} is a URL; name a folder on a disk that all ranks see, and "
            "give `checkpoints` the URL"
        )
    return path


def _for_any_folder(url: str) -> str:
    """A relative path made absolute: who reads it in config.json may stand elsewhere."""
    try:
        whole = address.absolute(url)
    except HeadraceError as error:
        raise ValueError(str(error)) from error
    return whole if "://" in url else whole.removeprefix("file://")


RunFolder = Annotated[str, Field(min_length=1), AfterValidator(_on_a_disk)]
CheckpointsUrl = Annotated[str, Field(min_length=1), AfterValidator(_for_any_folder)]


class RunConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """What every training is told, whatever it learns. Relative paths start at the current folder.

    A subclass names its data and its model, and brings its `Learner`.
    """

    program: ClassVar[str]
    """The module that `python -m` runs as one rank of it."""

    run: RunFolder
    """Folder of the run: its config, checkpoints, metrics and pictures. The same folder resumes."""

    stream: StreamConfig
    """Batch size, lanes, crops and their seed."""

    optimiser: OptimiserConfig = OptimiserConfig()
    """AdamW and its schedule; the defaults are the paper's."""

    compute: ComputeConfig = ComputeConfig()
    """Precision, memory and speed."""

    steps: int = Field(gt=0)
    """Updates in the whole run. The learning rate reaches zero after the last."""

    seed: int = 0
    """Of the weights, and of what is asked of a batch; the stream has its own."""

    log_every: int = Field(default=10, gt=0)
    """Steps between two lines of the log."""

    validate_every: int = Field(default=1000, gt=0)
    """Steps between two validations; the first and the last step are always validated."""

    checkpoint_every: int = Field(default=1000, gt=0)
    """Steps between two checkpoints; the last step is always saved."""

    keep_checkpoints: int = Field(default=2, gt=0)
    """Complete checkpoints that stay on disk."""

    checkpoints: CheckpointsUrl | None = None
    """Folder or fsspec URL of the checkpoints; `checkpoints` in the run's folder without it."""

    stop_within: int = Field(default=120, gt=0)
    """Seconds that ranks of `--nproc` have to save and end once told to stop, before a kill; the
    save before may have to end first."""

    hang_after: int = Field(default=1200, gt=0)
    """Seconds that a rank may stay in one phase (opening the run, waiting for a batch, a step, a
    batch of the validation, a save with the wait for the one before); then the run writes down
    where it stands and ends itself. More than 1500 helps long saves alone: torch ends a collective
    at 1800."""

    max_skipped: int = Field(default=10, gt=0)
    """Updates in a row that may be skipped because loss or gradient are not finite."""

    tensorboard: bool = False
    """Also write the log's figures for TensorBoard, to `tensorboard` in the run's folder."""

    threads: int | None = Field(default=None, gt=0)
    """CPU threads of one rank for the model; without it torch's own choice on one rank, and one
    on each of several (or OMP_NUM_THREADS)."""

    @property
    def data(self) -> Named:
        """What is learnt from, as a `Stream` takes it."""
        raise NotImplementedError

    def learner(self, world: World, names: list[str]) -> Learner:
        """What learns it on one rank; `names` are the stream's sources. A collective call.

        Raises HeadraceError if the model cannot be had, or not on so many ranks.
        """
        raise NotImplementedError

    @property
    def where(self) -> str:
        """URL or path of the folder that receives checkpoints."""
        return self.checkpoints or f"{self.run}/checkpoints"

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on. The stream checks its own part."""
        exclude = FREE_TO_CHANGE | {"stream", "compute"}
        precision = {"precision": self.compute.precision}
        return self.model_dump(mode="json", exclude=exclude) | {"compute": precision}

    @model_validator(mode="after")
    def _slots_make_micro_batches(self) -> Self:
        """All ranks must have as many parts."""
        depth, parts = self.stream.batch // self.stream.lanes, self.compute.micro_batches
        if depth % parts:
            raise ValueError(
                f"compute.micro_batches {parts} do not share the {depth} images of a lane "
                "(stream.batch over stream.lanes); use a divisor of them"
            )
        return self


class TrainConfig(RunConfig, frozen=True):
    """A run of AIM: which images, which model, how long."""

    program: ClassVar[str] = "trainer"

    mixture: MixtureUrl
    """URL of a mixture that `headrace mix` published."""

    validation: str | None = None
    """A dataset or snapshot to take the validation loss on; none without it."""

    model: (
        Literal["aim-demo", "aim-small", "aim-600m", "aim-600m-deep", "aim-1b", "aim-3b", "aim-7b"]
        | ModelConfig
    )
    """A named size, or its fields written out."""

    objective: ObjectiveConfig = ObjectiveConfig()
    """What is predicted, from what; the defaults are the paper's."""

    compute: AimComputeConfig = AimComputeConfig()
    """Precision, memory and speed."""

    @property
    def data(self) -> Named:
        """The mixture."""
        return self.mixture

    def learner(self, world: World, names: list[str]) -> Learner:
        """AIM on one rank."""
        from trainer.aim import learner  # which is told the config

        return learner(self, world, names)

    @property
    def shape(self) -> ModelConfig:
        """The model, its name looked up."""
        return SIZES[self.model] if isinstance(self.model, str) else self.model

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on. The stream checks its own part."""
        fields = {k: v for k, v in super().identity.items() if k not in ("mixture", "validation")}
        return fields | {"model": self.shape.model_dump(mode="json")}

    @model_validator(mode="after")
    def _crops_fit_the_model(self) -> Self:
        if self.stream.image_size != self.shape.image_size:
            raise ValueError(
                f"stream.image_size {self.stream.image_size} must be the model's image_size "
                f"{self.shape.image_size}"
            )
        return self

    @model_validator(mode="after")
    def _pairs_fit_into_micro_batches(self) -> Self:
        """A pair of prefixes must lie in one of them."""
        depth = self.stream.batch // self.stream.lanes // self.compute.micro_batches
        paired = self.objective.kind == "ar" and self.objective.attention == "prefix"
        if paired and self.objective.prefixes == "paired" and depth % 2:
            raise ValueError(
                f"objective.prefixes: a pair does not fit into the {depth} images that a "
                "lane has in a micro-batch; use half as many stream.lanes, or `independent`"
            )
        return self
