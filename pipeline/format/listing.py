"""A published list of anyone's tars: what a mixture pins, where a snapshot would have a manifest.

It lies beside the folder of the tars' indexes, as `<id>.shards.parquet`. The id is a digest of all
that it says of the tars, so that a list that was changed is found out by its name.
"""

import pyarrow as pa

from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience, read_whole
from pipeline.format.shards import ShardSet
from pipeline.format.snapshot import parquet_bytes, parse_parquet
from pipeline.format.tarset import set_id

ENDING = ".shards.parquet"

SCHEMA = pa.schema(
    [("path", pa.string()), ("samples", pa.int64()), ("nbytes", pa.int64()), ("etag", pa.string())]
)
"""One row a tar, in order. The metadata are `root`, which all URLs begin with, and `label`."""


def publish_listing(shards: ShardSet) -> str:
    """Writes the list of a tar set into the folder that it was given for its indexes.

    Returns its URL.
    """
    folder = (shards.indexes or "").rpartition("/")[0]
    columns = [list(shards.paths), shards.samples, shards.nbytes, list(shards.versions)]
    schema = SCHEMA.with_metadata({"root": shards.root, "label": shards.label})
    url = address.join(folder, shards.id + ENDING)
    writing.publish(url, parquet_bytes(pa.table(columns, schema=schema)))
    return url


def read_listing(url: str, patience: Patience | None = None) -> ShardSet:
    """The tar set of a published list; no tar is looked up, and none is scanned.

    Raises HeadraceError if it is missing, or not as it was published.
    """
    url = address.absolute(url)
    folder, _, name = url.rpartition("/")
    table = parse_parquet(url, pa.BufferReader(read_whole(url, patience or Patience())))
    told = table.schema.metadata or {}
    if not table.schema.equals(SCHEMA) or not {b"root", b"label"} <= told.keys():
        raise HeadraceError(f"{url}: not a list of tars of headrace")
    paths, samples, nbytes, versions = (column.combine_chunks() for column in table.columns)
    root = told[b"root"].decode()
    shards = ShardSet(
        id=name.removesuffix(ENDING),
        label=told[b"label"].decode(),
        root=root,
        paths=tuple(paths.to_pylist()),
        samples=samples.to_numpy(),
        nbytes=nbytes.to_numpy(),
        versions=tuple(versions.to_pylist()),
        indexes=address.join(folder, "indexes"),
    )
    prints = [shards.fingerprint(n) for n in range(len(shards.paths))]
    if set_id(prints, shards.samples.tolist()) != shards.id:
        raise HeadraceError(f"{url}: was changed since it was published; mix it again")
    return shards
