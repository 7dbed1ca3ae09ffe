"""The proof that what a list names is in no shard: every sample of every tar is read, on Ray.

Also tars that no snapshot and no index names any more. An image is met by its key, by the digest
of its bytes, and by what its json says (uid, sha256, url), as `decide.lists` would meet it. An
image that was altered on its way into a shard has other bytes than those listed: it is met by its
uid, or by the sha256 in its json, where its source told one.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import pyarrow as pa
import ray

from jobs import capacity, cluster
from jobs.console import progress
from jobs.unreferenced import INDEX
from pipeline.decide import lists, matching
from pipeline.decide.lists import ListsConfig
from pipeline.decide.matching import Entries
from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, patiently
from pipeline.format.tars import Damage, Member, Sample, printable, scan
from pipeline.measure import told

PIECE = 16 << 20
"""Bytes of an image that are digested at once."""

NAMES = pa.schema(
    [("key", pa.string()), *((name, pa.string()) for name in ("uid", "sha256", "url"))]
)
"""What a sample may be met by: some rows for each."""


@dataclass(frozen=True)
class Hit:
    """A listed image that is still there."""

    shard: str
    key: str
    entry: str
    listed: str
    """The list that has the entry."""


@dataclass(frozen=True)
class Proof:
    """What was read, and what was met; `hits` is empty if the images are gone."""

    tars: int = 0
    samples: int = 0
    nbytes: int = 0
    hits: tuple[Hit, ...] = ()

    def __add__(self, other: "Proof") -> "Proof":
        return Proof(
            self.tars + other.tars,
            self.samples + other.samples,
            self.nbytes + other.nbytes,
            self.hits + other.hits,
        )


def run(dataset: str, config: ListsConfig, workers: int | None = None) -> Proof:
    """Holds the deny lists against all that lies in the dataset's shards; hits in their order.

    Raises HeadraceError if there is no list, or if a tar cannot be read to its end: then nothing is
    proven.
    """
    if not config.deny:
        raise HeadraceError("decide.lists.deny: no list; name what must be gone")
    urls = _tars(address.absolute(dataset))
    proof = Proof()
    with cluster.session(workers), progress("prove", len(urls), "tars") as advance:
        listed = ray.put(lists.prepare(config).deny)
        found = cluster.run(urls, partial(_tar_task.remote, listed), in_flight=2 * capacity.cpus())
        for part in found:
            proof += part
            advance(1)
    hits = sorted(proof.hits, key=lambda hit: (hit.shard, hit.key, hit.listed, hit.entry))
    return Proof(proof.tars, proof.samples, proof.nbytes, tuple(hits))


def _tars(dataset: str) -> list[str]:
    """Whatever is no index; what killed writers left goes first."""
    folder = address.join(dataset, "shards")
    writing.sweep(folder)
    urls = [file.url for file in store.find(folder) if not file.url.endswith(INDEX)]
    for url in urls:
        if url.endswith(writing.PARTIAL):
            raise HeadraceError(f"{url}: is being written; wait for that job, and prove it then")
    return urls


@ray.remote(max_retries=3)
def _tar_task(listed: tuple[Entries, ...], url: str) -> Proof:
    return patiently(partial(prove_tar, url, listed), url, Patience())


def prove_tar(url: str, listed: tuple[Entries, ...]) -> Proof:
    """Reads all of one tar. Raises HeadraceError if it is damaged."""
    nbytes, samples, rows = store.stat(url).nbytes, 0, list[dict[str, Any]]()
    with store.reading(url), store.open_read(url) as file:
        for sample in scan(file):
            if isinstance(sample, Damage):
                raise HeadraceError(
                    f"{url}: byte {sample.offset}: {sample.message}; the rest cannot be read, so "
                    "nothing is proven: restore or delete this file"
                )
            samples += 1
            rows += _names(sample, file)
    table = pa.Table.from_pylist(rows, schema=NAMES)
    hits = {
        Hit(url, rows[row]["key"], entry, one.name)
        for one in listed
        for row, entry in matching.match(table, one).items()
    }
    return Proof(1, samples, nbytes, tuple(hits))


def _names(sample: Sample, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """By its key, by its json, and by each of its files."""
    key = printable(sample.key)
    yield {"key": key, "uid": _hex("uid", key.rpartition("/")[2].partition("-")[0])}
    meta = _meta(file, sample.members.get("json"))
    own = {kind: _hex(kind, meta.get(kind)) for kind in ("uid", "sha256")}
    yield {"key": key, **own, "url": told.facts(meta)["url"]}
    for member in sample.members.values():
        yield {"key": key, "sha256": _sha256(file, member)}


def _hex(kind: str, text: Any) -> str | None:
    """A digest, if it is one."""
    shape, _ = matching.SHAPES[kind]
    return text if isinstance(text, str) and shape.fullmatch(text) else None


def _meta(file: IO[bytes], member: Member | None) -> dict[str, Any]:
    """The json; a record that is none tells of nothing."""
    if member is None:
        return {}
    file.seek(member.offset)
    try:
        found = json.loads(file.read(member.nbytes))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(file: IO[bytes], member: Member) -> str:
    digest, left = hashlib.sha256(), member.nbytes
    file.seek(member.offset)
    while data := file.read(min(PIECE, left)):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()
