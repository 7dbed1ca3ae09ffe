"""The misbehaving web, fresh for each test, and decoders that die of what it sends."""

from collections.abc import Iterator

import pytest

from tests.pipeline import dying
from tests.pipeline.fetch.server import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def deadly(monkeypatch):
    """Children of this process open images with decoders that die."""
    monkeypatch.syspath_prepend(str(dying.FOLDER))
