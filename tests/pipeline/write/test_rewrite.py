"""A shard without what must go: the bytes it would have had without them from the start."""

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import index_tar, read_parquet
from pipeline.write.rewrite import rewrite_shard
from tests.pipeline.write.test_shards import pool, rows, write  # noqa: F401

PATH = "shards/fedcba9876543210/00000000.tar"


@pytest.mark.parametrize("gone", [{0}, {3, 4, 9}, set(range(1, 40))])
def test_what_is_left_has_the_bytes_of_a_shard_that_never_held_the_rest(tmp_path, rows, gone):  # noqa: F811
    table = rows.slice(0, 40)
    stays = [at for at in range(40) if at not in gone]
    old, fresh = write(tmp_path / "old", table), write(tmp_path / "fresh", table.take(stays))
    made = rewrite_shard(f"file://{tmp_path}/old", old, PATH, gone)
    assert (made.samples, made.nbytes, made.sha256) == (len(stays), fresh.nbytes, fresh.sha256)
    for path, other in ((made.path, fresh.path), (made.index_path, fresh.index_path)):
        assert (tmp_path / "old" / path).read_bytes() == (tmp_path / "fresh" / other).read_bytes()
    index = read_parquet(f"file://{tmp_path}/old/{made.index_path}")
    assert index.equals(index_tar(f"file://{tmp_path}/old/{made.path}"))


def test_a_rewritten_shard_is_not_rewritten_again(tmp_path, rows):  # noqa: F811
    old = write(tmp_path, rows.slice(0, 5))
    made = rewrite_shard(f"file://{tmp_path}", old, PATH, {1})
    (tmp_path / old.path).unlink()
    assert rewrite_shard(f"file://{tmp_path}", old, PATH, {1}) == made


def test_a_damaged_shard_is_not_handed_down(tmp_path, rows):  # noqa: F811
    old = write(tmp_path, rows.slice(0, 5))
    data = bytearray((tmp_path / old.path).read_bytes())
    data[700] ^= 1
    (tmp_path / old.path).write_bytes(data)
    with pytest.raises(HeadraceError, match="not the bytes that its manifest names"):
        rewrite_shard(f"file://{tmp_path}", old, PATH, {1})
    assert not (tmp_path / PATH).exists()
