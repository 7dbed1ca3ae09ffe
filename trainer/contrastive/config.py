"""The config of a filter's training."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.clip.names import HUB, LOCAL
from trainer.config import RunConfig
from trainer.distributed import World
from trainer.learner import Learner
from trainer.optimiser import OptimiserConfig
from trainer.stream.opening import Named

IMAGE_SIZE = 224
"""Of a `model_cfg` that names none (open_clip's CLIPVisionCfg)."""

POINTED_AT = {"pairs", "model", "pretrained", "validation"}
"""Fields that only say where something lies: the stream and the learner tell what is learnt."""


class FilterOptimiserConfig(OptimiserConfig, frozen=True):
    """AdamW as CLIP models are trained: betas, decay and no clip are DataComp's (AIM.md §5.6)."""

    lr: float = Field(default=5e-4, gt=0)
    """Peak learning rate (DataComp's at every scale up to large)."""

    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the two moments."""

    weight_decay: float = Field(default=0.2, ge=0)
    """Decoupled decay of the matrices; gains, biases and the temperature have none."""

    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Part of all steps that the rate rises for."""

    clip: float | None = Field(default=None, gt=0)
    """Largest global L2 norm of the gradient; null: any."""


class FilterConfig(RunConfig, frozen=True):
    """A filter to train: a CLIP model of open_clip, on pairs that are trusted."""

    program: ClassVar[str] = "trainer.contrastive"

    pairs: str | tuple[str, ...] = Field(min_length=1)
    """A snapshot, a mixture (`….json`), or tars by a pattern or a list."""

    validation: str | None = Field(default=None, min_length=1)
    """A dataset or snapshot of held-out pairs that are judged as training goes; none without it."""

    model: str | dict[str, Any] = Field(min_length=1)
    """An architecture that open_clip knows (`ViT-B-32`), `local-dir:FOLDER` or `hf-hub:ORG/NAME` to
    go on from their weights, or open_clip's `model_cfg` written out."""

    pretrained: str | None = None
    """For an architecture: the weights to begin with, a file or a tag that open_clip knows."""

    templates: tuple[str, ...] = ()
    """Names of sources whose captions are classes, by name or ImageNet's wnid: each is put into one
    of the 80 sentences that OpenAI wrote for ImageNet, drawn anew in every epoch."""

    optimiser: FilterOptimiserConfig = FilterOptimiserConfig()
    """AdamW and its schedule."""

    @property
    def data(self) -> Named:
        """The pairs."""
        return self.pairs

    def learner(self, world: World, names: list[str]) -> Learner:
        """The model on one rank, and its loss."""
        from trainer.contrastive.learner import learner  # which loads open_clip

        return learner(self, world, names)

    @property
    def begins_anew(self) -> bool:
        """Whether the first weights are drawn by the seed; else they are somebody's."""
        return isinstance(self.model, dict) or (self._is_an_architecture and not self.pretrained)

    @property
    def _is_an_architecture(self) -> bool:
        return isinstance(self.model, str) and not self.model.startswith((LOCAL, HUB))

    @property
    def identity(self) -> dict[str, Any]:
        """What a run's weights depend on, but for the model and the pairs."""
        return {name: value for name, value in super().identity.items() if name not in POINTED_AT}

    @model_validator(mode="after")
    def _only_an_architecture_takes_weights(self) -> Self:
        if self.pretrained and not self._is_an_architecture:
            raise ValueError(
                "pretrained: only for an architecture's name in `model`; leave it out, "
                f"or name an architecture ({LOCAL} and {HUB} bring their own weights)"
            )
        return self

    @model_validator(mode="after")
    def _crops_fit_a_model_written_out(self) -> Self:
        vision = self.model.get("vision_cfg") if isinstance(self.model, dict) else None
        if isinstance(vision, dict):
            check_size(self.stream.image_size, vision.get("image_size", IMAGE_SIZE))
        return self


def check_size(crops: int, model: Any) -> None:
    """Raises ValueError if a model of this image size, a number or (height, width), takes others.

    No position embedding is stretched: the images would not be those that scoring sees.
    """
    sides = set(model) if isinstance(model, list | tuple) else {model}
    if sides != {crops}:
        raise ValueError(
            f"stream.image_size {crops} must be the model's image_size {model}; change one of them"
        )
