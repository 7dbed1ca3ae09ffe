"""How torch's DCP reaches a folder or a store, and what it says where it fails."""

import contextlib
from collections.abc import Iterator

# The module is private, the classes are what DCP itself takes for a URL (torch 2.11 to 2.14).
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter

from pipeline.format import address, faults, store
from pipeline.format.errors import HeadraceError


def writer(url: str) -> FileSystemWriter:
    """Writes one file a rank. A local file is on the disk when it is closed, whatever comes."""
    if store.is_local(url):
        # Nothing is copied ahead: what is written lies in memory of the host already.
        return FileSystemWriter(store.filesystem(url)[1], per_thread_copy_ahead=0)
    return FsspecWriter(  # as in `store.filesystem`, without a cache of listings
        address.absolute(url), sync_files=False, per_thread_copy_ahead=0, use_listings_cache=False
    )


def reader(url: str) -> FileSystemReader:
    """Reads of each file what a rank needs."""
    if store.is_local(url):
        return FileSystemReader(store.filesystem(url)[1])
    return FsspecReader(address.absolute(url), use_listings_cache=False)


@contextlib.contextmanager
def told(url: str, what: str, fix: str, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns DCP's error, raised on all ranks and no Exception, into one line.

    So are failures of these kinds and of a store's client told; all others are bugs.
    """
    try:
        yield
    except CheckpointException as error:
        rank, (failure, _) = next(iter(error.failures.items()))
        known = isinstance(failure, Exception) and faults.is_of_a_store(failure)
        if not (known or isinstance(failure, kinds)):
            raise
        raise HeadraceError(
            f"{address.redact(url)}: {what}: rank {rank}: {_words(failure)}; {fix}"
        ) from error


def _words(failure: BaseException) -> str:
    """On one line; torch's own errors have their place in C++ on further ones."""
    if isinstance(failure, OSError):
        return faults.reason(failure)
    first = str(failure).partition("\n")[0] or type(failure).__name__
    return address.redact_words(first)
