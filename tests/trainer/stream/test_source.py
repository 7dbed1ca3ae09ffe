from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import read_index
from trainer.stream.source import Source


def test_samples_are_numbered_in_shard_order_with_their_own_bytes(web, pictures):
    source = Source("web", web)
    assert len(source) == 23
    for number in range(23):
        (record,) = source.read(number, 1)
        picture = pictures[number]
        assert (record.sample, record.key) == (number, picture.key)
        assert (record.image, record.text) == (picture.image, picture.text)


@pytest.mark.parametrize("length", [2, 6, 9, 17, 23])
def test_a_run_crosses_shard_ends_and_the_end_of_the_source(web, pictures, length):
    source = Source("web", web)
    for start in range(23):
        numbers = [(start + at) % 23 for at in range(length)]
        records = source.read(start, length)
        assert [record.sample for record in records] == numbers
        assert [record.image for record in records] == [pictures[n].image for n in numbers]


def test_a_run_inside_one_shard_is_one_read_of_its_own_bytes(web, monkeypatch):
    reads = []
    source = Source("web", web)
    source.read(0, 23)  # the indexes are held from now on
    whole = store.read_bytes

    def counted(url, start=None, stop=None):
        reads.append((url, start, stop))
        return whole(url, start, stop)

    monkeypatch.setattr(store, "read_bytes", counted)
    source.read(10, 5)
    source.read(20, 6)
    shards = [int(url[-5]) for url, _, _ in reads]
    assert shards == [1, 2, 0]
    assert all(stop - start < web.shards[0].nbytes for _, start, stop in reads)


def test_sample_bytes_is_the_mean_share_of_the_shards(web):
    expected = sum(shard.nbytes for shard in web.shards) / 23
    assert Source("web", web).sample_bytes == expected


def test_the_key_is_read_from_the_tar_and_a_moved_member_gives_no_image(
    tmp_path, make_snapshot, pictures
):
    """An index that points at another sample's bytes is found out, not believed."""
    snapshot = make_snapshot(tmp_path, pictures, [3])
    tar = tmp_path / snapshot.shards[0].path
    swapped = tar.read_bytes().replace(pictures[1].key.encode(), b"9" * len(pictures[1].key))
    tar.write_bytes(swapped)
    records = Source("web", snapshot).read(0, 3)
    assert [record.key for record in records] == [
        pictures[0].key,
        # A wrong checksum makes it no header at all.
        "",
        pictures[2].key,
    ]
    assert [bool(record.image) for record in records] == [True, False, True]


def test_a_shard_cut_short_is_an_error_and_not_damaged_samples(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [4])
    tar = tmp_path / snapshot.shards[0].path
    source = Source("web", snapshot)
    last = source._index(0).to_pylist()[3]
    tar.write_bytes(tar.read_bytes()[: last["start"]])
    with pytest.raises(HeadraceError, match=r"00000000\.tar: ends at byte \d+, the index says"):
        source.read(0, 4)
    assert [bool(record.image) for record in source.read(0, 3)] == [True] * 3


def test_lanes_that_meet_in_a_shard_read_its_index_once(web, monkeypatch):
    reads = []
    monkeypatch.setattr(
        "trainer.stream.source.read_index",
        lambda dataset, shard: reads.append(shard.path) or read_index(dataset, shard),
    )
    source = Source("web", web)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda start: source.read(start, 2), range(8)))
    assert sorted(reads) == sorted(set(reads))


@pytest.mark.parametrize("missing", ["path", "index_path"])
def test_a_missing_shard_or_index_fails_naming_it(tmp_path, make_snapshot, pictures, missing):
    snapshot = make_snapshot(tmp_path, pictures, [3, 3])
    gone = getattr(snapshot.shards[1], missing)
    (tmp_path / gone).unlink()
    source = Source("web", snapshot)
    assert len(source.read(0, 3)) == 3
    with pytest.raises(HeadraceError, match=f"{gone}: no such file"):
        source.read(2, 2)


def test_an_index_of_another_shard_is_refused(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [3, 4])
    one, other = (tmp_path / shard.index_path for shard in snapshot.shards)
    one.write_bytes(other.read_bytes())
    with pytest.raises(HeadraceError, match="holds 4 samples, the manifest says 3"):
        Source("web", snapshot).read(0, 1)
