"""The indexes of a source's shards, as many as fit: those used last."""

import logging
import os
from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock

import pyarrow as pa

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.shards import COLUMNS, Index, ShardSet, read_index

log = logging.getLogger(__name__)

MAX_BYTES = 256 << 20
"""Held at most, of one source: the indexes of about 300 shards of 10,000 samples."""


class Indexes:
    """Indexes by number of the shard, read when they are wanted. Safe to share between threads."""

    def __init__(self, shards: ShardSet, patience: Patience, max_bytes: int = MAX_BYTES) -> None:
        self.shards, self.patience, self.max_bytes = shards, patience, max_bytes
        self.folder: str | None = None
        """On a disk of this machine, where they are kept as they are in memory: single samples of a
        large set want another one each time, and parquet takes ten times as long to read."""
        self._held: OrderedDict[int, Future[Index]] = OrderedDict()
        self._nbytes: dict[int, int] = {}
        self._lock = Lock()

    def __getitem__(self, n: int) -> Index:
        """The index of shard `n`. Threads that want one at once read it once, and all wait.

        Raises HeadraceError if it cannot be read; who asks again has it read again.
        """
        with self._lock:
            mine = n not in self._held
            index = self._held.setdefault(n, Future())
            self._held.move_to_end(n)
        if mine:
            self._read(n, index)
        return index.result()

    @property
    def nbytes(self) -> int:
        """Held now."""
        with self._lock:
            return sum(self._nbytes.values())

    def _read(self, n: int, index: Future[Index]) -> None:
        try:
            found = self._kept(self.folder, n) if self.folder else self._of_store(n)
        except BaseException as error:
            with self._lock:
                del self._held[n]
            index.set_exception(error)
            return
        index.set_result(found)
        with self._lock:
            self._nbytes[n] = found.nbytes
            self._drop()

    def _of_store(self, n: int) -> Index:
        return read_index(self.shards, n, self.patience)

    def _kept(self, folder: str, n: int) -> Index:
        path = os.path.join(folder, f"{self.shards.fingerprint(n)}.idx.arrow")
        try:
            return _of_disk(path)
        except (OSError, pa.ArrowException):  # not there, or rotten
            found = self._of_store(n)
        try:
            _keep(found, path)
        except HeadraceError as error:
            log.warning("no more indexes are kept: %s", error)
            self.folder = None
        return found

    def _drop(self) -> None:
        """Those used longest ago go; the last one stays, however large it is."""
        over = sum(self._nbytes.values()) - self.max_bytes
        for n in list(self._held)[:-1]:
            if over <= 0:
                return
            if n in self._nbytes:  # else it is being read
                over -= self._nbytes.pop(n)
                del self._held[n]


def _keep(index: Index, path: str) -> None:
    table = pa.table([index.keys, *index[1:]], COLUMNS)
    with writing.publishing(path) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _of_disk(path: str) -> Index:
    with open(path, "rb") as file:
        table = pa.ipc.open_file(file.read()).read_all()
    table.validate(full=True)
    keys, *numbers = (column.combine_chunks() for column in table.columns)
    return Index(keys, *(column.to_numpy() for column in numbers))
