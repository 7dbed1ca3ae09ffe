"""A store that is no disk."""

import uuid

import fsspec
import pytest


@pytest.fixture
def memory():
    """A store in this process, empty before and after."""
    url = f"memory:///{uuid.uuid4().hex}"
    yield url
    fsspec.filesystem("memory").rm(url.removeprefix("memory://"), recursive=True)
