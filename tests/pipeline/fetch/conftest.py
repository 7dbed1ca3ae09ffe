"""The misbehaving web, fresh for each test."""

from collections.abc import Iterator

import pytest

from tests.pipeline.fetch.server import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web
