"""Small models and labelled sets for evaluations of a few seconds."""

from dataclasses import replace
from pathlib import Path

import torch

from pipeline.format.snapshot import Snapshot
from tests.trainer.conftest import read_pictures, write_snapshot
from trainer.export.record import Record, Training
from trainer.export.write import write
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.objective.config import ObjectiveConfig

MODEL = ModelConfig(
    image_size=24, patch_size=6, embed_dim=16, depth=3, num_heads=2, head_width=8, head_depth=1
)
CLASSES = ("cat", "dog", "eel")


def model_of(seed: int) -> AIM:
    """One that was never trained, and is not the identity."""
    model, words = AIM(MODEL), torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=words)
    return model


def export(
    folder: Path, seed: int = 0, model: AIM | None = None, head: bool = True, told: bool = True
) -> str:
    """The weights of such a model as an export of ours; without its head, or its training."""
    tensors = dict((model or model_of(seed)).named_parameters())
    if not head:
        tensors = {k: v for k, v in tensors.items() if not k.startswith("pixel_head.")}
    record = Record(headrace=None, model=MODEL, outputs=MODEL.patch_dim)
    write(
        tensors, str(folder), record.model_copy(update={"training": _training() if told else None})
    )
    return str(folder)


def _training() -> Training:
    objective = ObjectiveConfig().model_dump(mode="json")
    plain = {"sources": {}, "seed": 0, "optimiser": {}, "parent": None, "validation": None}
    counts = {"step": 1, "steps": 1, "images": 1, "digest": "", "mixture": None}
    return Training(objective=objective, **counts, **plain)


def labelled(folder: Path, demo_data: Path, some: slice, classes=CLASSES) -> Snapshot:
    """Pictures of the demo whose captions are classes, in shards of 5."""
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")
    named = [
        replace(picture, text=classes[n % len(classes)].encode())
        for n, picture in enumerate(pictures)
    ][some]
    sizes = [5] * (len(named) // 5) + [len(named) % 5] * (len(named) % 5 > 0)
    return write_snapshot(folder, named, sizes)
