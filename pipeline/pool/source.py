"""The sources of a pool: one module per format, found by its name."""

from collections.abc import Iterator
from typing import Literal, Protocol

from pydantic import Field

from pipeline.format import store
from pipeline.pool import folder, webdataset
from pipeline.pool.sample import Part, PoolImage
from pipeline.settings import Settings


class Format(Protocol):
    """What a module in this folder provides."""

    def parts(self, url: str) -> list[Part]:
        """What tasks will read, in order."""

    def read(self, part: Part, max_bytes: int) -> Iterator[PoolImage]:
        """The pool images of a part, in order, bad ones included."""

    def fetch(self, source: str, key: str, offset: int, nbytes: int) -> bytes:
        """The image bytes of one of them."""


FORMATS: dict[str, Format] = {"webdataset": webdataset, "folder": folder}


class SourceConfig(Settings):
    """One source of a pool."""

    url: str = Field(min_length=1)
    """Where it lies: a path or fsspec URL, with `{00000..00999}` ranges and `*` globs for tars."""

    format: Literal["webdataset", "folder"] = "webdataset"
    """`webdataset`: tars of key.jpg, key.txt, key.json. `folder`: images in class folders."""


def parts(sources: tuple[SourceConfig, ...]) -> list[Part]:
    """All parts of all sources, in pool order. A part named twice is read once."""
    found = {
        part.name: part for config in sources for part in FORMATS[config.format].parts(config.url)
    }
    return sorted(found.values(), key=lambda part: (part.source, part.files[:1]))


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The pool images of one part. Raises HeadraceError if the store fails."""
    with store.reading(part.source):
        yield from FORMATS[part.format].read(part, max_bytes)
