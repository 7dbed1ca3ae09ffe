"""The config of a training run: one typed tree, each section beside what it configures."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from trainer.model.sizes import SIZES, ModelConfig
from trainer.optimiser import OptimiserConfig
from trainer.stream.config import StreamConfig

FREE_TO_CHANGE = {"run", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"}
"""Fields that a resume may change: they alter no weight. `threads` does, in the last bits."""


def _named_as_mixture(url: str) -> str:
    if not url.endswith(".json"):
        raise ValueError(f"{url!r} does not end in .json; name a mixture that `headrace mix` wrote")
    return url


MixtureUrl = Annotated[str, AfterValidator(_named_as_mixture)]
"""By its ending a stream tells a mixture from a snapshot."""


class TrainConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """A run: which images, which model, how long. Relative paths start at the current folder."""

    run: str = Field(min_length=1)
    """Folder of the run: its config, checkpoints, metrics and pictures. The same folder resumes."""

    mixture: MixtureUrl
    """URL of a mixture that `headrace mix` published."""

    validation: str | None = None
    """A dataset or snapshot to take the validation loss on; none without it."""

    model: Literal["aim-demo", "aim-600m", "aim-1b", "aim-3b", "aim-7b"] | ModelConfig
    """A named size, or its fields written out."""

    stream: StreamConfig
    """Batch size, lanes, crops and their seed."""

    optimiser: OptimiserConfig = OptimiserConfig()
    """AdamW and its schedule; the defaults are the paper's."""

    steps: int = Field(gt=0)
    """Updates in the whole run. The learning rate reaches zero after the last."""

    seed: int = 0
    """Of the weights and the prefix lengths; the stream has its own."""

    log_every: int = Field(default=10, gt=0)
    """Steps between two lines of the log."""

    validate_every: int = Field(default=1000, gt=0)
    """Steps between two validations; the first and the last step are always validated."""

    checkpoint_every: int = Field(default=1000, gt=0)
    """Steps between two checkpoints; the last step is always saved."""

    keep_checkpoints: int = Field(default=2, gt=0)
    """Complete checkpoints that stay on disk."""

    threads: int | None = Field(default=None, gt=0)
    """CPU threads of one rank for the model; torch's own choice without it."""

    @property
    def shape(self) -> ModelConfig:
        """The model, its name looked up."""
        return SIZES[self.model] if isinstance(self.model, str) else self.model

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on. The stream checks its own part."""
        exclude = FREE_TO_CHANGE | {"stream", "mixture", "validation"}
        fields = self.model_dump(mode="json", exclude=exclude)
        return fields | {"model": self.shape.model_dump(mode="json")}

    @model_validator(mode="after")
    def _crops_fit_the_model(self) -> "TrainConfig":
        if self.stream.image_size != self.shape.image_size:
            raise ValueError(
                f"stream.image_size {self.stream.image_size} must be the model's image_size "
                f"{self.shape.image_size}"
            )
        return self
