"""The sources of a pool: one module per format, found by its name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

from pydantic import Field

from pipeline.format import store
from pipeline.pool import folder, imagenet, parquet, sidecar, webdataset
from pipeline.pool.sample import Part, PoolImage, part_name, words_of
from pipeline.settings import Settings

Fetch = Callable[[str, int, int], bytes]
"""The image bytes at a key, offset and length of one source."""


class Format(Protocol):
    """What a module in this folder provides."""

    def parts(self, url: str) -> list[Part]:
        """What tasks will read, in order."""

    def read(self, part: Part, max_bytes: int) -> Iterator[PoolImage]:
        """The pool images of a part, in order, bad ones included."""

    def fetch(self, source: str, key: str, offset: int, nbytes: int) -> bytes:
        """The image bytes of one of them."""


FORMATS: dict[str, Format] = {
    "webdataset": webdataset,
    "parquet": parquet,
    "folder": folder,
    "imagenet": imagenet,
}


class SourceConfig(Settings):
    """One source of a pool."""

    url: str = Field(min_length=1)
    """Where it lies: a path or fsspec URL. Tars and parquet files may be named by
    `{00000..00999}` ranges and `*` globs."""

    format: Literal["webdataset", "parquet", "folder", "imagenet"] = "webdataset"
    """`webdataset`: tars of key.jpg, key.txt, key.json, with img2dataset's sidecars. `parquet`:
    image bytes and captions in columns. `folder`: images with .txt or metadata.jsonl captions, or
    in class folders. `imagenet`: the ILSVRC2012 tars or class folders. See docs/sources.md."""

    caption: str | None = Field(default=None, min_length=1, exclude_if=lambda found: found is None)
    """Field of the record whose value is the caption, e.g. `label`; a number becomes its digits. An
    image whose record has nothing there keeps the caption that it would have without this."""


def parts(sources: tuple[SourceConfig, ...]) -> list[Part]:
    """All parts of all sources, in pool order. A part named twice is read once.

    Pool order is by source, then by the slice's place in it; the rows of a part follow in the
    order in which `read` gives them. A row's number in the pool is its place in that order.
    """
    found = {part.name: part for config in sources for part in _parts(config)}
    return sorted(found.values(), key=lambda part: (part.source, part.begin, part.files[:1]))


def _parts(config: SourceConfig) -> list[Part]:
    """Of one source. A part's facts change with where its captions come from; so does its name."""
    found, field = FORMATS[config.format].parts(config.url), config.caption
    if field is None:
        return found
    return [
        replace(part, caption=field, name=part_name("caption", field, part.name)) for part in found
    ]


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The pool images of one part. Raises HeadraceError if the store fails."""
    with store.reading(part.source):
        for image in FORMATS[part.format].read(part, max_bytes):
            words = words_of(image.meta.get(part.caption)) if part.caption else ""
            yield replace(image, caption=words) if words else image


@contextmanager
def fetching(pool_format: str, source: str) -> Iterator[Fetch]:
    """`fetch` of one source. A tar is opened once: of a far store, neighbours come together."""
    if pool_format != "webdataset":
        yield partial(FORMATS[pool_format].fetch, source)
        return
    with store.open_read(source) as file:

        def fetch(_: str, offset: int, nbytes: int) -> bytes:
            file.seek(offset)
            return file.read(nbytes)

        yield fetch


def counts(part: Part) -> dict[str, int]:
    """What is known of a part beside its pool images, for reports: see `sidecar.counts`."""
    return sidecar.counts(part) if part.format == "webdataset" else {}
