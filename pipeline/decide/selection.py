"""Selection by uid: subset files as DataComp and DFN-2B are published.

A file holds 16 bytes an entry, two unsigned 64-bit numbers in native order: the high and the low
half of a uid. Entries are sorted, and may repeat. It is mapped into memory, never loaded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy
from pydantic import Field

from pipeline.decide.verdict import Reason, Verdicts
from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

Halves = npt.NDArray[np.uint64]
"""Uids as (n, 2) numbers: high half, low half."""

DTYPE = np.dtype("u8,u8")
CHECKED_AT_ONCE = 1 << 20


class SelectConfig(Settings):
    """Which uids are wanted."""

    uids: str = Field(min_length=1)
    """A local `.npy` or raw file of dtype `u8,u8`, sorted, where all workers see it."""


@dataclass(frozen=True)
class Selection:
    """A subset file that was found to be sorted."""

    path: str
    listed: int
    """Entries in the file."""
    repeats: int
    """Entries that equal the one before. A uid that is listed n times is kept once."""


def columns(config: SelectConfig) -> set[str]:
    """Ledger columns that the rule reads."""
    return {"uid"}


def files(config: SelectConfig) -> list[str]:
    """Files whose content the verdicts depend on."""
    return [config.uids]


def prepare(config: SelectConfig) -> Selection:
    """Reads the file once, 16 MB at a time. Raises HeadraceError unless it is a sorted subset."""
    listed = _open(config.uids)
    repeats = 0
    for start in range(0, len(listed), CHECKED_AT_ONCE):
        block = np.array(listed[max(start - 1, 0) : start + CHECKED_AT_ONCE])
        before, after = block[:-1], block[1:]
        if _less(after, before).any():
            raise HeadraceError(
                f"{config.uids}: its entries are not sorted; sort the array with numpy and save it"
            )
        repeats += int((before == after).all(axis=1).sum())
    return Selection(config.uids, len(listed), repeats)


def drop_not_selected(verdicts: Verdicts, rows: pa.Table, selection: Selection) -> None:
    """Drops rows whose uid is not listed."""
    places = find(selection, halves(rows["uid"]))
    verdicts.drop(places < 0, Reason.NOT_SELECTED, lambda row: f"not listed in {selection.path}")


def find(selection: Selection, uids: Halves) -> npt.NDArray[np.int64]:
    """The place of each uid's first entry in the file, -1 for those that are not listed."""
    listed = _open(selection.path)
    low = np.zeros(len(uids), np.int64)
    high = np.full(len(uids), len(listed), np.int64)
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        under = _less(listed[middle], uids[open_])
        low[open_] = np.where(under, middle + 1, low[open_])
        high[open_] = np.where(under, high[open_], middle)
    hit = np.flatnonzero(low < len(listed))
    hit = hit[(listed[low[hit]] == uids[hit]).all(axis=1)]
    places = np.full(len(uids), -1, np.int64)
    places[hit] = low[hit]
    return places


def distinct(selection: Selection, places: Iterable[npt.NDArray[np.int64]]) -> int:
    """How many different uids were met, from the places of all parts: one bit an entry.

    The file lists `listed - repeats` uids; those that were not met are missing from the pool.
    """
    met = np.zeros((selection.listed + 7) // 8, np.uint8)
    for some in places:
        np.bitwise_or.at(met, some >> 3, (1 << (some & 7)).astype(np.uint8))
    return int(np.bitwise_count(met).sum(dtype=np.int64))


def met(selection: Selection, uids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Places in the file of the uids of a column, for `distinct`."""
    places = find(selection, halves(uids))
    return np.unique(places[places >= 0])


def halves(uids: pa.ChunkedArray) -> Halves:
    """A column of uids, 32 hex digits each, as numbers."""
    data = bytes.fromhex("".join(uids.to_pylist()))
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


def write_uids(url: str, uids: pa.ChunkedArray) -> None:
    """Publishes uids as a subset file, sorted, repeats and all, that DataComp's tools read too."""
    found = halves(uids)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    header = {"descr": npy.dtype_to_descr(DTYPE), "fortran_order": False, "shape": (len(found),)}
    with writing.publishing(url) as file:
        npy.write_array_header_1_0(file, header)
        for block in _blocks(found):
            file.write(block.tobytes())


def _blocks(found: Halves) -> Iterator[Halves]:
    for start in range(0, len(found), CHECKED_AT_ONCE):
        yield found[start : start + CHECKED_AT_ONCE]


def _less(left: Halves, right: Halves) -> npt.NDArray[np.bool_]:
    same = left[:, 0] == right[:, 0]
    lower: npt.NDArray[np.bool_] = np.where(
        same, left[:, 1] < right[:, 1], left[:, 0] < right[:, 0]
    )
    return lower


def _open(url: str) -> Halves:
    """The file as (n, 2) numbers, mapped. Raises HeadraceError if it is no subset file."""
    path = _local(url)
    try:
        with path.open("rb") as file:
            has_header = file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
        listed = np.load(path, mmap_mode="r", allow_pickle=False) if has_header else _raw(path)
    except OSError as error:
        raise HeadraceError(f"{url}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise HeadraceError(f"{url}: not a subset file: {error}") from error
    return _as_halves(url, listed)


def _local(url: str) -> Path:
    fs, path = store.filesystem(url)
    if "file" not in fs.protocol:
        raise HeadraceError(f"{url}: a subset file is mapped into memory; copy it to a local disk")
    return Path(path)


def _raw(path: Path) -> npt.NDArray[Any]:
    empty = path.stat().st_size == 0
    return np.zeros(0, DTYPE) if empty else np.memmap(path, DTYPE, mode="r")


def _as_halves(url: str, listed: npt.NDArray[Any]) -> Halves:
    if listed.dtype != DTYPE or listed.ndim != 1:
        shape = f"{listed.dtype} of shape {listed.shape}"
        raise HeadraceError(f"{url}: holds {shape}; a subset file has one column of `u8,u8`")
    return listed.view(np.uint64).reshape(-1, 2)
