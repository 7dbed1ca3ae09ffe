"""One real S3 server for all tests here."""

import os

import pytest
import s3fs

from tests.s3 import ceph, debian


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Ceph's gateway. Where it cannot be had these tests are left out, but not in CI."""
    try:
        with ceph.running(tmp_path_factory.mktemp("ceph")) as server:
            yield server
    except debian.NotToBeHad as reason:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no S3 server: {reason}")


@pytest.fixture(autouse=True)
def here(server, monkeypatch):
    """This process and what it starts are led there by the environment."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()
