"""An export: weights in files that anyone can read, and what they are.

    <folder>/backbone.safetensors     under the names of Apple's release (apple/ml-aim)
    <folder>/pixel_head.safetensors   what is thrown away after pre-training, under ours
    <folder>/README.md                the model card
    <folder>/config.json              written last: the export is whole with it

The same weights give the same bytes. Nothing that is there is changed: see `write`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from trainer.export.card import card
from trainer.export.names import is_backbone
from trainer.export.opening import CONFIG, HEADER
from trainer.export.record import File, Record

BACKBONE = "backbone.safetensors"
PIXEL_HEAD = "pixel_head.safetensors"

CHUNK = 1 << 24
"""Bytes that are read at a time of a file that is there."""

_DTYPES = {"float32": (torch.float32, "F32"), "bfloat16": (torch.bfloat16, "BF16")}
"""To torch's, and to the name in the safetensors format."""


def write(tensors: Mapping[str, Tensor], folder: str, record: Record) -> Record:
    """Publishes weights under our names, as `record.dtype`; returns the record as published.

    `folder` is a path or any fsspec URL. Without weights of a head there is no file of them. Raises
    HeadraceError if a file of another content is there; one of the same content stays.
    """
    kept = {name: value for name, value in tensors.items() if is_backbone(name)}
    head = {name: value for name, value in tensors.items() if not is_backbone(name)}
    text = record.model_copy(update={"files": {}}).model_dump_json()
    files = {BACKBONE: _weights(folder, BACKBONE, kept, record.dtype, {HEADER: text})}
    if head:
        files[PIXEL_HEAD] = _weights(folder, PIXEL_HEAD, head, record.dtype, {})
    record = record.model_copy(update={"files": files})
    sizes = {name: value.numel() for name, value in tensors.items()}
    _publish_once(folder, "README.md", [card(record, sizes).encode()])
    config = json.dumps(record.model_dump(mode="json"), indent=1) + "\n"
    _publish_once(folder, CONFIG, [config.encode()])
    return record


def _weights(
    folder: str, name: str, tensors: dict[str, Tensor], dtype: str, metadata: dict[str, str]
) -> File:
    return _publish_once(folder, name, safetensors(tensors, dtype, metadata))


def _publish_once(folder: str, name: str, chunks: Iterable[bytes | memoryview]) -> File:
    url, digest, nbytes = address.join(folder, name), hashlib.sha256(), 0
    try:
        with writing.publishing(url, create_only=True) as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                nbytes += len(chunk)
    except FileExistsError:
        if _digest(url) != digest.hexdigest():
            raise HeadraceError(
                f"{address.redact(url)}: is there with another content; export to a new folder"
            ) from None
    return File(sha256=digest.hexdigest(), nbytes=nbytes)


def _digest(url: str) -> str:
    digest = hashlib.sha256()
    with store.open_read(url) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def safetensors(
    tensors: Mapping[str, Tensor], dtype: str, metadata: dict[str, str]
) -> Iterator[bytes | memoryview]:
    """A file of the safetensors format, piece by piece, tensors by name.

    The library's own writers want a name, which they rename a file of theirs to, so that it could
    not be published and digested as it is written; or they hold all of it.
    """
    kind, code = _DTYPES[dtype]
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in sorted(tensors):
        begin, end = end, end + tensors[name].numel() * kind.itemsize
        shape = list(tensors[name].shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants its data aligned
    yield len(text).to_bytes(8, "little") + text
    for name in sorted(tensors):
        data = tensors[name].detach().to("cpu", kind).contiguous().flatten().view(torch.uint8)
        yield data.numpy().data
