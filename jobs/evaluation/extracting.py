"""What `eval knn` and `eval loss` share: one pass over a set with a model that stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from jobs.console import console, progress
from pipeline.format import address, writing
from pipeline.settings import Settings
from trainer import extracting
from trainer.compute import ComputeConfig, autocast, name_of
from trainer.extracting import Rows, rows_of
from trainer.pixels import normalise
from trainer.stream.source import Source


class PassConfig(Settings):
    """One pass over images. Relative paths start at the current folder."""

    evaluation: str = Field(min_length=1)
    """Folder or URL that receives the results, and what they are made of. The same one resumes."""

    weights: str = Field(min_length=1)
    """The model: a run's folder, one of its checkpoints, an export, or a file of ml-aim's."""

    batch: int = Field(default=64, gt=0)
    """Images that the model is given at once."""

    precision: Literal["bfloat16", "float32"] | None = None
    """Of the products; bfloat16 on a GPU and float32 on a CPU without it."""

    threads: int | None = Field(default=None, gt=0)
    """CPU threads for the model, and as many that decode; without it as torch chooses."""

    @property
    def url(self) -> str:
        """The evaluation's canonical URL."""
        return address.absolute(self.evaluation)

    @property
    def compute(self) -> ComputeConfig:
        """The same as a training's, for what it says of precision."""
        return ComputeConfig(precision=self.precision)


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def computing(config: PassConfig) -> Iterator[torch.device]:
    """The device to compute on, with the configured threads; what a killed run left half written
    is gone."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    writing.sweep(config.url)
    try:
        yield device()
    finally:
        torch.set_num_threads(before)


def extract(
    config: PassConfig,
    folder: str,
    source: Source,
    image_size: int,
    identity: dict[str, Any],
    make: extracting.Make,
) -> Rows:
    """The rows of a set in `<evaluation>/<folder>`, made where they are missing.

    `make` takes normalised images (n, 3, H, W) float32 on the device. `identity` is what it is;
    what it is computed with comes from the config.
    """
    where = device()
    computed = {
        "precision": name_of(config.compute, where),
        "device": where.type,
        "threads": torch.get_num_threads(),
    }

    @torch.no_grad()
    def made(images: Tensor, samples: Tensor) -> Tensor:
        with autocast(config.compute, where):
            return make(normalise(images, where), samples)

    inside = address.join(config.url, folder)
    rows = rows_of(source, image_size, config.batch, inside, identity | computed)
    total = sum(map(rows.count, rows.missing()))
    if not total:
        console.print(f"{folder}: all there of {source.shards.label}", markup=False)
    with progress(folder, total, "images") as advance:
        extracting.extract(rows, made, torch.get_num_threads(), advance)
    return rows
