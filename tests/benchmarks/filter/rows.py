"""The rows of `scoring`: who scores what, with which threads and readers."""

from collections.abc import Iterator
from typing import NamedTuple

DEFAULT_WORKERS = 4
"""Of open_clip's loader; each reads tars of its own, of which there are as many."""


class Row(NamedTuple):
    """One way, and what it may use."""

    name: str
    way: str
    images_alone: bool = False
    processes: int = 1
    threads: int = 1
    readers: int = 0
    """Decoders of ours, or workers of open_clip; 0: whoever runs the model reads too."""

    @property
    def scores(self) -> bool:
        """Whether it reads images and runs the model on them."""
        return self.way in ("ours", "open_clip")

    @property
    def bare(self) -> tuple[bool, int, int]:
        """Rows alike in these are held against the bare model among them."""
        return self.images_alone, self.processes, self.threads


def on_cores(cores: int) -> Iterator[Row]:
    """What may be made of so many cores without a GPU, the job's own way first."""
    for alone in (False, True):
        what = "images alone" if alone else "images and captions"
        for processes, threads in dict.fromkeys([(cores, 1), (1, cores)]):
            yield Row(f"bare model, {what}", "bare", alone, processes, threads)
            yield Row(f"headrace, {what}", "ours", alone, processes, threads)
        for workers in dict.fromkeys([DEFAULT_WORKERS, cores - 1]):
            yield Row(f"open_clip, {what}", "open_clip", alone, 1, cores, workers)
    yield Row("decoding and resizing alone", "decoding", False, cores)


def on_gpu(decoders: int) -> Iterator[Row]:
    """The same of one GPU: the readers are what differs."""
    for alone in (False, True):
        what = "images alone" if alone else "images and captions"
        yield Row(f"bare model, {what}", "bare", alone)
        yield Row(f"headrace, {what}", "ours", alone, readers=decoders)
        for workers in dict.fromkeys([DEFAULT_WORKERS, decoders]):
            yield Row(f"open_clip, {what}", "open_clip", alone, readers=workers)
    yield Row("decoding and resizing alone", "decoding", False, decoders)


def asked(row: Row, only: list[str] | None) -> bool:
    """Whether a word of `--only` is in its name."""
    return not only or any(word.lower() in row.name.lower() for word in only)
