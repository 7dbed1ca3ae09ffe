"""Files in a real S3 server: whole, create-only, swapped by one, and large ones in parts."""

import os
import threading
from pathlib import Path

import pytest

from pipeline.format import store, writing
from pipeline.format.errors import HeadraceError
from tests.pipeline.format.test_swapping import race
from tests.s3 import ceph

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LARGE = 101 << 20
"""Bytes; s3fs sends 100 MiB and more in parts."""


@pytest.fixture
def url(tmp_path) -> str:
    return f"s3://{ceph.BUCKET}/{tmp_path.name}/file"


def test_a_file_is_swapped_by_who_knows_what_it_holds(url):
    assert writing.swap(url, None, b"first")
    assert not writing.swap(url, None, b"other")
    assert not writing.swap(url, b"other", b"second")
    assert writing.swap(url, b"first", b"second")
    assert store.read_bytes(url) == b"second"
    writing.remove(url)
    assert not writing.swap(url, b"second", b"third")
    assert not store.exists(url)


def test_of_many_who_swap_at_once_one_wins(url):
    race(url, rounds=8, racers=3)


def test_of_many_who_create_a_file_at_once_one_does(url, monkeypatch):
    monkeypatch.setattr(store, "exists", lambda *_: False)  # all of them looked before
    won = []

    def create(number: int) -> None:
        try:
            writing.publish(url, f"{number}".encode(), create_only=True)
            won.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read_bytes(url) == f"{won[0]}".encode()


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(os.urandom(LARGE))
    return path


def test_a_large_file_goes_up_in_parts_and_create_only_leaves_it_alone(url, server, large):
    data = large.read_bytes()
    writing.publish(url, data, create_only=True)
    writing.publish(url, data, create_only=True)  # its own bytes
    with pytest.raises(FileExistsError):
        writing.publish(url, bytes(LARGE), create_only=True)
    assert store.read_bytes(url) == data
    assert store.stat(url).etag.endswith('-3"'), "three parts"
    uploads = server.client().list_multipart_uploads(Bucket=ceph.BUCKET)
    assert "Uploads" not in uploads, "nothing half done lies about"


def test_a_wrong_secret_is_one_line_with_the_url_and_without_the_secret(url, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(
        HeadraceError, match=f"^{url}: reading is not allowed; check the cred"
    ) as no:
        store.read_bytes(url)
    with pytest.raises(HeadraceError, match=f"^{url}: not written: it is not allowed;") as nor:
        writing.publish(url, b"1")
    for caught in (no, nor):
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
