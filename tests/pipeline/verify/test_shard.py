"""A shard against its manifest and its index, in a store that is no disk."""

import hashlib

import pyarrow as pa
import pytest

from pipeline.format import store, writing
from pipeline.format.snapshot import Shard, parquet_bytes
from pipeline.verify import shard
from pipeline.write.tar import Tar


@pytest.fixture
def one(memory) -> Shard:
    """A shard of three samples with its index."""
    with writing.publishing(f"{memory}/shards/a/0.tar") as file:
        tar = Tar(file)
        for n in range(3):
            tar.add(
                f"k{n}", {"jpg": bytes([n]) * 700, "txt": b"a"} | ({"json": b"{}"} if n else {})
            )
        index = tar.close()
    made = Shard("shards/a/0.tar", 3, tar.nbytes, tar.digest.hexdigest())
    facts = {"nbytes": str(made.nbytes), "sha256": made.sha256}
    keep_index(memory, made, index.replace_schema_metadata(facts))
    return made


def keep_index(dataset: str, made: Shard, index: pa.Table) -> None:
    writing.publish(f"{dataset}/{made.index_path}", parquet_bytes(index))


def test_a_shard_as_it_was_written_is_sound(memory, one):
    assert shard.check(memory, one) == []


def test_a_digest_is_of_all_bytes_however_many_are_held(memory, one, monkeypatch):
    url = f"{memory}/{one.path}"
    monkeypatch.setattr(shard, "CHUNK", 100)
    assert shard.sha256(url) == hashlib.sha256(store.read_bytes(url)).hexdigest() == one.sha256


@pytest.mark.parametrize("at", [0, 600, 1500, -1])
def test_any_byte_of_the_tar_counts(memory, one, at):
    url = f"{memory}/{one.path}"
    data = bytearray(store.read_bytes(url))
    data[at] ^= 64
    writing.publish(url, bytes(data))
    (found,) = shard.check(memory, one)
    assert found.startswith(f"{url}: has other bytes")


def test_what_is_no_index_is_named(memory, one):
    keep_index(memory, one, pa.table({"key": ["k0", "k1", "k2"]}))
    (found,) = shard.check(memory, one)
    assert (
        found == f"{memory}/{one.index_path}: has not the columns that headrace writes; restore it"
    )


def test_a_missing_tar_and_its_missing_index_are_two_findings(memory, one):
    for path in (one.path, one.index_path):
        writing.remove(f"{memory}/{path}")
    tar, index = shard.check(memory, one)
    assert f"{one.path}: no such file" in tar
    assert f"{one.index_path}: no such file" in index
