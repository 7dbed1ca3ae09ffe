"""What a frozen model makes of each sample of a set: a row of numbers, kept in files.

    <folder>/<digest>/00000000.arrow   key, caption and row of the first samples
    <folder>/<digest>/00000001.arrow   of the next ones, and so on

The digest is of all that a row depends on, so the rows of other weights or another set never meet.
A file is published whole and is never changed, and no batch is of two files: a pass that was
killed goes on with the files that are missing, and leaves the bytes of one that was not.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import canonical_json
from trainer.stream.augment import Pixels
from trainer.stream.batch import as_images
from trainer.stream.ordered import viewed
from trainer.stream.source import Record, Source

VERSION = 1
"""Counts up when the same model would make other rows: those that lie there are not used then."""

CHUNK = 4096
"""Samples of a file, or the whole batches that fit into so many: what a kill may cost."""

AHEAD = 2
"""Batches that are decoded while the model has one."""

Make = Callable[[Tensor, Tensor], Tensor]
"""Images (n, 3, H, W) uint8 and the numbers of their samples (n,) int64 → rows (n, W) float32."""


class Chunk(NamedTuple):
    """What one file holds."""

    keys: list[str]
    captions: list[str]
    rows: Tensor
    """(n, W) float32."""


@dataclass(frozen=True)
class Rows:
    """Where the rows of a set lie, and how they are made. Iterated, it reads the files in order."""

    source: Source
    image_size: int
    """Side of the central crops, in pixels."""
    batch: int
    """Images that the model is given at once; a row may depend on it in its last bits."""
    folder: str
    """URL, with the digest in it."""

    @property
    def starts(self) -> range:
        """The number of the first sample of each file."""
        return range(0, len(self.source), self.batch * max(1, CHUNK // self.batch))

    def url(self, first: int) -> str:
        """Of the file that begins with a sample."""
        return address.join(self.folder, f"{first // self.starts.step:08d}.arrow")

    def count(self, first: int) -> int:
        """Samples in it."""
        return min(self.starts.step, len(self.source) - first)

    def missing(self) -> list[int]:
        """The first sample of each file that is not there yet."""
        there = store.names(self.folder)
        return [first for first in self.starts if self.url(first).rpartition("/")[2] not in there]

    def __iter__(self) -> Iterator[Chunk]:
        """Raises HeadraceError if a file is missing or damaged."""
        return (_read(self.url(first), self.count(first)) for first in self.starts)


def rows_of(
    source: Source, image_size: int, batch: int, folder: str, identity: dict[str, Any]
) -> Rows:
    """The rows of a set, below `folder`. `identity` is what the model's part depends on, as JSON
    can hold it. Nothing is read or made."""
    fields = {
        "version": VERSION,
        "set": source.shards.id,
        "image_size": image_size,
        "batch": batch,
        "chunk": CHUNK,
        "made": identity,
    }
    digest = hashlib.sha256(canonical_json(fields)).hexdigest()[:16]
    return Rows(source, image_size, batch, address.join(folder, digest))


def extract(rows: Rows, make: Make, threads: int, told: Callable[[int], None]) -> None:
    """Makes the files that are missing. `threads` decode images, which changes nothing.

    `told` hears of samples whenever a batch is done. Raises HeadraceError if a shard cannot be
    read, and on a damaged sample: a figure must be of the whole set.
    """
    with ThreadPoolExecutor(threads, "extract") as pool:
        for first in rows.missing():
            parts = []
            records: list[Record] = []
            for some, images in _batches(rows, first, pool):
                samples = torch.tensor([record.sample for record in some])
                parts.append(make(images, samples).cpu())
                records += some
                told(len(some))
            _write(rows.url(first), records, torch.cat(parts))


def _batches(
    rows: Rows, first: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[Record], Tensor]]:
    """The batches of one file, some of them decoded ahead."""
    stop, view = first + rows.count(first), partial(viewed, rows.source, size=rows.image_size)
    ahead: deque[tuple[list[Record], Iterator[Pixels]]] = deque()
    for at in range(first, stop, rows.batch):
        records = rows.source.records(at, min(rows.batch, stop - at))
        ahead.append((records, pool.map(view, records)))
        if len(ahead) > AHEAD:
            yield _whole(*ahead.popleft())
    while ahead:
        yield _whole(*ahead.popleft())


def _whole(records: list[Record], pixels: Iterator[Pixels]) -> tuple[list[Record], Tensor]:
    return records, as_images(np.stack(list(pixels)))


def _write(url: str, records: list[Record], rows: Tensor) -> None:
    captions = [record.text.decode(errors="replace") for record in records]
    values = pa.array(rows.float().contiguous().numpy().reshape(-1))
    columns = {
        "key": pa.array([record.key for record in records], pa.string()),
        "caption": pa.array(captions, pa.string()),
        "row": pa.FixedSizeListArray.from_arrays(values, rows.shape[1]),
    }
    table = pa.table(columns)
    with writing.publishing(url) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read(url: str, count: int) -> Chunk:
    try:
        with pa.ipc.open_file(pa.py_buffer(store.read_bytes(url))) as file:
            table = file.read_all().combine_chunks()
        table.validate(full=True)
        keys, captions, rows = (table[name] for name in ("key", "caption", "row"))
    except (pa.ArrowException, KeyError) as error:
        raise _damaged(url) from error
    if table.num_rows != count:
        raise _damaged(url)
    values = np.array(np.from_dlpack(rows.chunk(0).flatten()))  # a copy: torch wants to own it
    return Chunk(keys.to_pylist(), captions.to_pylist(), torch.from_numpy(values).view(count, -1))


def _damaged(url: str) -> HeadraceError:
    return HeadraceError(
        f"{address.redact(url)}: damaged; delete it and run the same command again, which makes it "
        "anew"
    )
