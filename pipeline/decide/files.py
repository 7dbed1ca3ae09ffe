"""Files that a config names: a snapshot depends on what is in them, not on what they are called."""

import hashlib
from collections.abc import Iterable

from pipeline.format import store

AT_ONCE = 1 << 20


def digests(urls: Iterable[str]) -> dict[str, str]:
    """The sha256 of each file by its name, for the snapshot's identity. Reads them whole."""
    return {url: _digest(url) for url in sorted(set(urls))}


def _digest(url: str) -> str:
    with store.open_read(url) as file:
        digest = hashlib.sha256()
        while block := file.read(AT_ONCE):
            digest.update(block)
        return digest.hexdigest()
