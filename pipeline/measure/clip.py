"""Image-text scores and image embeddings by an open_clip model: CLIP_SCHEMA of the ledger.

This module names the model and the scores it makes; `clip_model` runs it, and alone loads torch.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure.image import ImageConfig
from pipeline.settings import Settings

VERSION = 1
LOCAL = "local-dir:"


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


def weights_digest(config: ClipConfig) -> str:
    """What names the weights: the digest of local files, else the public name.

    Raises HeadraceError if a local model is not there.
    """
    if config.model.startswith(LOCAL):
        folder = Path(config.model.removeprefix(LOCAL))
        files = sorted(path for path in folder.glob("open_clip_*") if path.is_file())
        if not (folder / "open_clip_config.json").is_file():
            raise HeadraceError(
                f"{folder}: no open_clip_config.json here; measure.clip.model must name a folder "
                "that open_clip wrote, or train a filter first"
            )
        return digest(files)
    if config.pretrained and Path(config.pretrained).is_file():
        return digest([Path(config.pretrained)])
    return f"{config.model}/{config.pretrained}"


def digest(files: list[Path]) -> str:
    """Of the bytes of some files, in this order: 64 hex digits."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def fingerprint(config: ClipConfig, images: ImageConfig) -> str:
    """Names what these scores depend on: weights, batch shape, threads, limits, device type."""
    settings = config.model_dump(exclude={"model", "pretrained"}) | images.model_dump()
    return ledger.fingerprint("clip", VERSION, settings | {"weights": weights_digest(config)})
