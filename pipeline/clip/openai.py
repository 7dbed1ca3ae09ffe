"""Weights of a TorchScript archive, as OpenAI published CLIP's, without running what is in it.

Such a file is a program: torch loads it by compiling the code inside. Here its modules become plain
stubs, its tensors are read as the numbers they are, and a file that asks for more is refused.
The archive is a zip: `<name>/data.pkl`, a pickle of modules; `<name>/data/<n>`, bytes of tensors.
"""

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

SIZES = {"input_resolution", "context_length", "vocab_size"}
"""Entries of OpenAI's archives, beside the weights, that say what architecture they are of."""

MASK = "attn_mask"
"""A tensor that a scripted model of open_clip carries, and that a new model makes itself."""

LONGEST = 1000
"""Signs of a name: each floor of a crafted tower of modules may repeat a long one."""

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive: torch, too, knows one by its `constants.pkl`."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The state dict of an archive, on the CPU, and whether its network has QuickGELU.

    Raises ValueError if it is damaged or is more than modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _Members(archive, path.stat().st_size)
            reader = _Reader(io.BytesIO(members.read("data.pkl")))
            views = _views(reader.load())
            weights = {name: members.tensor(view) for name, view in views.items()}
    except Exception as error:  # a crafted file makes the unpickler raise anything
        raise ValueError(f"{path} is no archive of weights alone: {error}") from error
    quick = bool(SIZES & set(weights)) or "QuickGELU" in reader.classes
    return {name: value for name, value in weights.items() if name not in SIZES}, quick


class _Module:
    """Stands for any class of the archive: what it held, and nothing that it did."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _View(NamedTuple):
    """Where a tensor's numbers are: storage type, storage, its count; and which of them."""

    storage: tuple[str, str, int]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Reader(pickle._Unpickler):  # in Python: the one in C allots what a crafted pickle asks for
    """Makes plain data alone. What it hands to the pickle by name is its own, and made anew."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.classes: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            self.classes.add(name)
            return type(name, (_Module,), {})
        if module == "torch" and name in DTYPES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._view
        if (module, name) == ("collections", "OrderedDict"):
            return self._hooks
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return self._list
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which could run code")

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        _, storage, key, _, count = pid
        if not (isinstance(storage, str) and isinstance(key, str)):
            raise pickle.UnpicklingError("its tensors are in no storage")
        (count,) = _numbers(count)
        return storage, key, count

    def _view(self, storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> _View:
        (offset,) = _numbers(offset)
        return _View(storage, offset, _numbers(*size), _numbers(*stride))

    def _hooks(self) -> None:
        """A tensor's hooks, of which an archive has none."""

    def _list(self, values: Any) -> Any:
        return values


def _numbers(*values: Any) -> tuple[int, ...]:
    """Of a pickle that may have anything in their place: a text times 10^10, nested lists."""
    if not all(type(value) is int and value >= 0 for value in values):
        raise pickle.UnpicklingError("its tensors have sizes that are no numbers")
    return values


def _views(top: _Module) -> dict[str, _View]:
    """Tensors by their names in a state dict. A module that appears twice is entered once."""
    found, entered, todo = {}, {id(top)}, [("", top)]
    while todo:
        prefix, module = todo.pop()
        for name, value in module.state.items():
            if len(whole := prefix + name) > LONGEST:
                raise pickle.UnpicklingError("its names have no end")
            if isinstance(value, _View) and name != MASK:
                found[whole] = value
            elif isinstance(value, _Module) and id(value) not in entered:
                entered.add(id(value))
                todo.append((f"{whole}.", value))
    return found


class _Members:
    """What is read of an archive, and made of it: no more bytes than the file has.

    torch does not compress these members; a member that blows up, or two that share bytes, are
    somebody's trap.
    """

    def __init__(self, archive: zipfile.ZipFile, nbytes: int) -> None:
        self.archive, self.unread, self.unmade = archive, nbytes, nbytes
        self.root = archive.namelist()[0].partition("/")[0]
        self.storages: dict[tuple[str, str, int], Tensor] = {}

    def read(self, name: str) -> bytearray:
        member = self.archive.getinfo(f"{self.root}/{name}")
        self.unread -= member.file_size
        if member.compress_type != zipfile.ZIP_STORED or self.unread < 0:
            raise pickle.UnpicklingError(f"its {name} is larger than the file")
        return bytearray(self.archive.read(member))

    def tensor(self, view: _View) -> Tensor:
        dtype, key, count = view.storage
        self.unmade -= math.prod(view.size) * DTYPES[dtype].itemsize
        if self.unmade < 0:
            raise pickle.UnpicklingError("its tensors are larger than the file")
        if view.storage not in self.storages:
            numbers = torch.frombuffer(self.read(f"data/{key}"), dtype=DTYPES[dtype], count=count)
            self.storages[view.storage] = numbers
        return self.storages[view.storage].as_strided(view.size, view.stride, view.offset)
