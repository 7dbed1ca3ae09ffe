"""Image-text scores and image embeddings by an open_clip model: CLIP_SCHEMA of the ledger.

This module names the model and the scores it makes; `clip_model` runs it, and alone loads torch.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline import ledger
from pipeline.clip import names
from pipeline.measure.image import ImageConfig
from pipeline.settings import Settings

VERSION = 1
LOCAL = names.LOCAL

BFLOAT16_TOLERANCE = 0.01
"""Scores in bfloat16 were nearer than this to those in float32, on one CPU: the most was 0.0068 and
the median 0.0007, of 1,258 pictures by a filter trained as the demo's (60 steps; scores have a
standard deviation of 0.37); the most was 0.0017 of 211 by ViT-B-32 with random weights (0.034).
"""


class ClipConfig(Settings):
    """The filter network: any model that open_clip can load."""

    model: str = Field(min_length=1)
    """An open_clip architecture (`ViT-B-32`), `hf-hub:org/name`, or `local-dir:folder`."""

    pretrained: str | None = None
    """For an architecture: a checkpoint file, or a tag that open_clip knows."""

    batch: int = Field(default=64, gt=0)
    """Images in one forward pass. Part of the score's identity, down to the last bit."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where scoring actors run; `cuda` takes one GPU each. Scores of the two differ a little."""

    threads: int = Field(default=1, gt=0)
    """CPU threads of one scoring actor. Part of the score's identity, too."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the network computes in; vectors are made unit length, and scored, in float32.

    bfloat16 scores stayed within BFLOAT16_TOLERANCE of float32: of the 251 best pictures (20%) by
    the demo's filter one was another, which is 2 verdicts of 1,258. Float16 was not run: it needs
    a GPU.
    """

    @model_validator(mode="after")
    def _has_kernels(self) -> Self:
        if self.precision == "float16" and self.device != "cuda":
            raise ValueError(
                "precision float16 needs device cuda: its range is too small without the 32-bit "
                "sums of a GPU; on a CPU take bfloat16"
            )
        return self


class PairsConfig(ClipConfig):
    """The same network, of whose work both embeddings are kept: PAIRS_SCHEMA of the ledger."""


def weights_digest(config: ClipConfig) -> str:
    """64 hex digits of what the model is, wherever it lies and whatever it is called.

    Fetches a public model to this machine's cache, unless it is there. Raises HeadraceError if the
    model cannot be had.
    """
    return names.digest(config.model, config.pretrained, "measure.clip.model")


def fingerprint(config: ClipConfig, images: ImageConfig) -> str:
    """Names what these scores depend on: weights, batch, threads, precision, limits, device type.

    Scores in float32 are named as before there was a choice of precision, for they are the same.
    """
    unnamed = {"model", "pretrained"}
    if config.precision == "float32":
        unnamed.add("precision")
    settings = config.model_dump(exclude=unnamed) | images.model_dump()
    return ledger.fingerprint("clip", VERSION, settings | {"weights": weights_digest(config)})
