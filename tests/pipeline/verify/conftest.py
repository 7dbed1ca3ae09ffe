"""A store that is no disk, as the format's tests have it."""

from tests.pipeline.format.conftest import memory as memory
