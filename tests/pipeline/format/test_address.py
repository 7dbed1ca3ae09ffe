"""The names of files: one form each, and no credentials in them."""

import pytest

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("/a/b", "file:///a/b"),
        ("/a/b/", "file:///a/b"),
        ("/a/../b", "file:///b"),
        ("file:///a/b/", "file:///a/b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("memory:///a", "memory:///a"),
        ("hdfs:///user/a.tar", "hdfs:///user/a.tar"),
        ("https://host:8080/a.tar", "https://host:8080/a.tar"),
        ("hf://datasets/org/name@main/0.tar", "hf://datasets/org/name@main/0.tar"),
        ("s3://bucket/shard-?.tar", "s3://bucket/shard-?.tar"),
    ],
)
def test_a_url_has_one_form(given, canonical):
    assert address.absolute(given) == canonical
    assert address.absolute(canonical) == canonical


def test_a_relative_path_and_a_home_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert address.absolute("pool") == f"file://{tmp_path}/pool"
    assert address.absolute("~/pool") == "file:///home/someone/pool"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hunter2@bucket/a.tar",
        "https://user:hunter2@host/a.tar",
        "https://user:hun@hunter2@host/a.tar",
        "https://host/a.tar?X-Amz-Credential=AKIAKEY&X-Amz-Signature=hunter2",
        "simplecache::https://user:hunter2@host/a.tar",
    ],
)
@pytest.mark.parametrize("use", [address.absolute, store.expand, store.read_bytes, writing.sweep])
def test_a_url_with_credentials_is_refused_and_never_repeated(url, use):
    with pytest.raises(HeadraceError, match="carries credentials; put them in the env") as caught:
        use(url)
    assert "hunter2" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)
    assert "a.tar" in str(caught.value)
