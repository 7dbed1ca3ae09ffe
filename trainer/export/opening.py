"""Weights out of files and folders, of whichever kind. Nothing in them is run as code."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from pipeline.format.errors import HeadraceError
from trainer import checkpoint
from trainer.export.record import Record
from trainer.export.sharded import LISTING, read_sharded

CONFIG = "config.json"
HEADER = "headrace"
"""The one key of the backbone's metadata."""


class Opened(NamedTuple):
    """Tensors by the names that the file has, and our record if it is an export of ours."""

    tensors: dict[str, Tensor]
    record: Record | None


def open_weights(path: Path) -> Opened:
    """An export's folder, a sharded checkpoint's folder, `.safetensors`, or a state dict of torch.

    Raises HeadraceError, on one line, for anything else.
    """
    if not path.exists():
        raise HeadraceError(f"{path}: no such file or folder; copy the weights to a disk first")
    if path.is_dir():
        return _folder(path)
    return _safetensors(path) if path.suffix == ".safetensors" else Opened(_pickled(path), None)


def _folder(path: Path) -> Opened:
    if (path / checkpoint.MARKER).exists():
        raise HeadraceError(f"{path}: a checkpoint of a run; `headrace export` makes weights of it")
    if (path / LISTING).exists():
        return Opened(read_sharded(str(path)), None)
    if not (path / CONFIG).exists():
        raise HeadraceError(
            f"{path}: neither a whole export (no {CONFIG}) nor a sharded checkpoint (no "
            f"{LISTING}); name a file of weights in it"
        )
    record = _record(path / CONFIG, (path / CONFIG).read_bytes())
    tensors: dict[str, Tensor] = {}
    for name, file in record.files.items():
        part = path / name
        if not part.exists() or part.stat().st_size != file.nbytes:
            raise HeadraceError(f"{part}: not the {file.nbytes} bytes of the export; copy it again")
        tensors |= _safetensors(part).tensors
    return Opened(tensors, record)


def _record(path: Path, text: str | bytes) -> Record:
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "(whole file)"
        raise HeadraceError(
            f"{path}: not the config of an export of this version: {where}: {fault['msg']}; for a "
            "folder of somebody else's, name the file of weights in it"
        ) from error


def _safetensors(path: Path) -> Opened:
    with _one_line(path), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(HEADER)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Opened(tensors, _record(path, text) if text else None)


def _pickled(path: Path) -> dict[str, Tensor]:
    """A state dict by itself, or the `model` of a dict that the training code saves."""
    with _one_line(path):
        whole = zipfile.is_zipfile(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=whole)
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise HeadraceError(f"{path}: holds no state dict: tensors by name, or under `model`")
    return found


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Bytes that anyone may have written fail in ways that the readers do not foresee."""
    try:
        yield
    except Exception as error:
        raise HeadraceError(f"{path}: not read as weights: {_reason(str(error))}") from error


def _reason(words: str) -> str:
    code = re.search(r"GLOBAL (\S+)", words)
    if code:
        return (
            f"it holds {code[1]}, which could run code; save the state dict alone, or import the "
            "folder of the sharded checkpoint"
        )
    return " ".join(words.split())[:200] + "; is it whole? copy it again"
