"""Writing a shard anew without what must go: from the old shard alone, not from the pool."""

import hashlib
from collections.abc import Collection, Iterator
from typing import IO, Any

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, read_parquet
from pipeline.write.shards import finished, publish_index
from pipeline.write.tar import Tar

CHUNK = 1 << 20

MEMBERS = ("image", "json", "text")


def rewrite_shard(dataset: str, old: Shard, path: str, gone: Collection[int]) -> Shard:
    """Copies a shard but for the samples at positions `gone`; publishes the tar, then its index.

    The old tar is read once, from end to end. Raises HeadraceError if it is not what its manifest
    says: a damaged shard is not handed down.
    """
    written = finished(dataset, path)
    if written:
        return written
    url = address.join(dataset, old.path)
    rows = read_parquet(address.join(dataset, old.index_path)).to_pylist()
    with store.open_read(url) as source, writing.publishing(address.join(dataset, path)) as file:
        tar, digest = Tar(file), hashlib.sha256()
        for row, members in _samples(source, digest, rows):
            if row["position"] not in gone:
                tar.add(row["key"], members)
        index = tar.close()
        if digest.hexdigest() != old.sha256:
            raise HeadraceError(
                f"{url}: not the bytes that its manifest names; restore the shard, or run "
                "`headrace refresh --rebase`, which writes all shards anew from the sources"
            )
    shard = Shard(path, index.num_rows, tar.nbytes, tar.digest.hexdigest())
    publish_index(dataset, shard, index)
    return shard


def _samples(
    source: IO[bytes], digest: Any, rows: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Index rows and their members by extension; the digest sees every byte of the file."""
    at = 0
    for row in rows:
        members = {}
        for kind, offset in sorted(_offsets(row).items(), key=lambda found: found[1]):
            _pass(source, digest, offset - at)
            data = source.read(row[f"{kind}_nbytes"])
            digest.update(data)
            at = offset + row[f"{kind}_nbytes"]
            members[_extension(kind, row)] = data
        yield row, members
    while chunk := source.read(CHUNK):
        digest.update(chunk)


def _offsets(row: dict[str, Any]) -> dict[str, int]:
    offsets = {kind: row[f"{kind}_offset"] for kind in MEMBERS}
    return {kind: offset for kind, offset in offsets.items() if offset is not None}


def _extension(kind: str, row: dict[str, Any]) -> str:
    named: dict[str, str] = {"json": "json", "text": "txt", "image": row["image_extension"]}
    return named[kind]


def _pass(source: IO[bytes], digest: Any, nbytes: int) -> None:
    """What lies between two members: headers and padding."""
    digest.update(source.read(nbytes))
