"""The model's tensors out of a folder of torch's distributed checkpoint (DCP), without the model.

Ours are such folders, and so are those of Apple's training code (apple/ml-l3m,
src/l3m/helpers/checkpoint.py: parts `model` and `optimizer`; its `other.pth` is never opened).
The list of tensors in such a folder is a pickle, which could run code: here only the classes that
torch itself writes into it are let through. The tensors themselves torch reads as weights only.
"""

import contextlib
import importlib
import io
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from trainer.checkpoint import storage

LISTING = ".metadata"
PART = "model."

_METADATA = "torch.distributed.checkpoint.metadata"
_ALLOWED = {
    (_METADATA, "Metadata"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "StorageMeta"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "BytesStorageMetadata"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("collections", "OrderedDict"),
}


def read_sharded(url: str) -> dict[str, Tensor]:
    """Every tensor of the part `model`, whole, by its name there.

    Raises HeadraceError if the folder is not whole, or holds what torch does not write.
    """
    with _one_line(url):
        listing = _listing(store.read_bytes(address.join(url, LISTING)))
        tensors = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in listing.state_dict_metadata.items()
            if name.startswith(PART) and isinstance(entry, TensorStorageMetadata)
        }
        reader: Any = storage.reader(url)
        reader.read_metadata = lambda *_, **__: listing  # its own would run what a pickle says
        load(tensors, storage_reader=reader, no_dist=True)
    return {name.removeprefix(PART): value for name, value in tensors.items()}


def _listing(data: bytes) -> Metadata:
    listing = _Unpickler(io.BytesIO(data)).load()
    if not isinstance(listing, Metadata):
        raise pickle.UnpicklingError("its listing is none of torch's")
    listing.storage_meta = listing.storage_meta or StorageMeta()
    return listing


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return getattr(importlib.import_module(module), name)
        dtype = getattr(torch, name, None)
        if module == "torch" and isinstance(dtype, torch.dtype):
            return dtype
        raise pickle.UnpicklingError(
            f"its listing holds {module}.{name}, which torch does not write and could run code"
        )


@contextlib.contextmanager
def _one_line(url: str) -> Iterator[None]:
    """Bytes that anyone may have written fail in ways that torch does not foresee."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose
            yield
    except HeadraceError:
        raise
    except Exception as error:
        raise _refused(url, error) from error
    except CheckpointException as error:  # which is no Exception
        failure, _ = next(iter(error.failures.values()))
        if not isinstance(failure, Exception):
            raise
        raise _refused(url, failure) from error


def _refused(url: str, error: Exception) -> HeadraceError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return HeadraceError(f"{address.redact(url)}: not read as a sharded checkpoint: {reason}")
