"""Samples that could not be delivered: facts of the dataset, the same on every run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bad:
    """A planned sample that is damaged, and what was delivered in its place."""

    source: str
    """Name of the source."""
    sample: int
    """Number in the source, in shard order."""
    url: str
    """Of its shard."""
    key: str
    """By the shard's index."""
    offset: int
    """Of its image in the shard, in bytes."""
    reason: str
    """`<kind>: <words>`; the kind is `not_in_tar`, or one of `pipeline.format.images`."""
    instead: str
    """Key of the sample that stands in for it."""

    @property
    def kind(self) -> str:
        """The reason without its words: what is counted."""
        return self.reason.partition(":")[0]
