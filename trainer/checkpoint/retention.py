"""Which checkpoints go when a new one is complete."""

import contextlib
from collections.abc import Iterator

from pipeline.format import address, faults, store
from pipeline.format.errors import HeadraceError
from trainer.checkpoint import finding


def keep_newest(where: str, count: int) -> None:
    """Deletes complete checkpoints but the newest `count`, and what kills left before the newest.

    `count` is at least 1. Incomplete ones are never counted, and stay if they are of a later step
    than the newest complete one: only there can a save be under way. Raises HeadraceError if the
    store refuses.
    """
    found = finding.steps(where)
    complete = [step for step in found if finding.is_complete(finding.at(where, step))]
    kept = set(complete[-count:])
    for step in found:
        if complete and step < complete[-1] and step not in kept:
            delete(finding.at(where, step))


def delete(url: str) -> None:
    """Deletes a checkpoint, or what there is of it. Raises HeadraceError if the store refuses."""
    fs, path = store.filesystem(url)
    marker = address.join(path, finding.MARKER)
    with _deleting(url):
        if fs.exists(marker):
            fs.rm_file(marker)  # first, so that a kill in between leaves no half checkpoint
        if fs.exists(path):
            fs.rm(path, recursive=True)


@contextlib.contextmanager
def _deleting(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not (isinstance(error, OSError) or faults.is_of_a_store(error)):
            raise
        raise HeadraceError(
            f"{address.redact(url)}: not deleted: {faults.reason(error)}; "
            "check what may be done there"
        ) from error
