"""Whether a manifest agrees with itself, with the snapshots around it, and with its pool."""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import plan
from pipeline.format import address, retired, store
from pipeline.format.snapshot import Snapshot, snapshot_id


def check_latest(dataset: str, ids: Collection[str]) -> Iterator[str]:
    """Whether LATEST names one of the published snapshots, whose `ids` are these, and none that is
    retired."""
    url = address.join(dataset, "LATEST")
    newest = store.read_bytes(url).decode(errors="replace").strip()
    if newest not in ids:
        yield f"{url}: names {newest!r}, which is no snapshot here"
    elif retired.is_retired(address.join(dataset, "snapshots", newest)):
        yield f"{url}: names {newest!r}, which was retired: its shards may be gone"


def check_retired(snapshot: str, ids: Collection[str]) -> Iterator[str]:
    """Whether the retired snapshot at a URL says which of all that there are succeeds it."""
    successor = retired.successor_of(snapshot).rpartition("/")[2]
    if successor not in ids:
        url = address.join(snapshot, retired.NAME)
        yield f"{url}: says that {successor!r} succeeds it, which is no snapshot here"


def check(snapshot: Snapshot, name: str, ids: Collection[str]) -> Iterator[str]:
    """Whether the snapshot that lies under `name` is who it says it is; `ids` are all there are."""
    url = address.join(snapshot.dataset, "snapshots", name, "manifest.json")
    if snapshot.id != name:
        yield f"{url}: says that its id is {snapshot.id!r}"
    if name != snapshot_id(snapshot.config, snapshot.plan_sha256, snapshot.parent):
        yield f"{url}: its config, plan_sha256 and parent do not give its id; one was changed"
    if snapshot.parent is not None and snapshot.parent not in ids:
        yield f"{url}: its parent {snapshot.parent!r} is no snapshot here"
    kept = snapshot.counts.get("kept", 0)
    if kept != snapshot.samples:
        yield f"{url}: counts {kept:,} kept, and its shards have {snapshot.samples:,} samples"


def check_sources(snapshot: Snapshot, sources: pa.Table) -> Iterator[str]:
    """Whether the list of a snapshot's parts adds up, and to what the manifest says."""
    url = plan.sources_url(snapshot.url)
    rows = sources["rows"].to_numpy()
    if not np.array_equal(sources["first_row"].to_numpy(), np.cumsum(rows) - rows):
        yield f"{url}: its parts do not follow one another: first_row is not the sum of rows"
    lost = pc.sum(sources["not_downloaded"]).as_py() or 0
    if lost != snapshot.not_downloaded:
        yield (
            f"{url}: has {lost:,} images that were not downloaded, and the manifest counts "
            f"{snapshot.not_downloaded:,}"
        )
