import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from pipeline.format.shards import of_snapshot, read_index
from pipeline.format.tars import BLOCK
from pipeline.format.tarset import tar_set
from tests.pipeline.making import END, member
from tests.trainer.conftest import write_shard
from trainer.stream.source import Source


def test_samples_are_numbered_in_shard_order_with_their_own_bytes(web, pictures):
    source = Source("web", of_snapshot(web))
    assert len(source) == 23
    for number in range(23):
        (record,) = source.records(number, 1)
        picture = pictures[number]
        assert (record.sample, record.key) == (number, picture.key)
        assert (record.image, record.text) == (picture.image, picture.text)
        assert record.fault == ""


def test_a_record_says_where_its_image_lies(web, pictures):
    for record in Source("web", of_snapshot(web)).records(0, 23):
        image = pictures[record.sample].image
        assert store.read_bytes(record.url, record.offset, record.offset + len(image)) == image


@pytest.mark.parametrize("length", [2, 6, 9, 17, 23])
def test_a_run_crosses_shard_ends_and_the_end_of_the_source(web, pictures, length):
    source = Source("web", of_snapshot(web))
    for start in range(23):
        numbers = [(start + at) % 23 for at in range(length)]
        records = source.records(start, length)
        assert [record.sample for record in records] == numbers
        assert [record.image for record in records] == [pictures[n].image for n in numbers]


def test_a_run_inside_one_shard_is_one_read_of_its_own_bytes(web, monkeypatch):
    reads = []
    source = Source("web", of_snapshot(web))
    source.read(0, 23)  # the indexes are held from now on
    whole = store.read_bytes

    def counted(url, start=None, stop=None, timeout=None):
        reads.append((url, start, stop))
        return whole(url, start, stop, timeout)

    monkeypatch.setattr(store, "read_bytes", counted)
    source.read(10, 5)
    source.read(20, 6)
    shards = [int(url[-5]) for url, _, _ in reads]
    assert shards == [1, 2, 0]
    assert all(stop - start < web.shards[0].nbytes for _, start, stop in reads)


def test_a_run_is_one_shards_share_of_a_read_with_its_own_rows_of_the_index(web):
    source = Source("web", of_snapshot(web))
    runs = source.read(7, 14)
    assert [(run.url[-6:], run.first, len(run)) for run in runs] == [
        ("00.tar", 7, 2),
        ("01.tar", 9, 8),
        ("02.tar", 17, 4),
    ]
    for run in runs:
        assert [n for n in range(23) if n in run] == list(range(run.first, run.first + len(run)))
        assert len(run.data) == run.index.stop[-1] - run.index.start[0]


def test_a_run_does_not_hold_the_whole_index_of_its_shard(web):
    source = Source("web", of_snapshot(web))
    (run,) = source.read(2, 1)
    assert run.index.keys.get_total_buffer_size() < 100
    columns = run.index[1:]
    assert all(column.base is None and column.nbytes == 8 for column in columns)


def test_sample_bytes_is_the_mean_share_of_the_shards(web):
    expected = sum(shard.nbytes for shard in web.shards) / 23
    assert Source("web", of_snapshot(web)).sample_bytes == expected


def test_a_member_whose_header_is_damaged_is_at_fault(tmp_path, make_snapshot, pictures):
    """An index that points at another sample's bytes is found out, not believed."""
    snapshot = make_snapshot(tmp_path, pictures, [3])
    tar = tmp_path / snapshot.shards[0].path
    swapped = tar.read_bytes().replace(pictures[1].key.encode(), b"9" * len(pictures[1].key))
    tar.write_bytes(swapped)
    records = Source("web", of_snapshot(snapshot)).records(0, 3)
    # A wrong checksum makes it no header at all.
    none = "not_in_tar: no header stands where the index says"
    assert [record.fault for record in records] == ["", none, ""]


def test_a_member_of_another_name_is_not_the_sample(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [2])
    other = make_snapshot(tmp_path / "other", pictures[1::-1], [2])
    tar, index = snapshot.shards[0].path, other.shards[0].index_path
    moved = (tmp_path / "other" / index).read_bytes()
    (tmp_path / tar.replace(".tar", ".idx.parquet")).write_bytes(moved)
    first = Source("web", of_snapshot(snapshot)).records(0, 1)[0]
    assert first.fault.startswith("not_in_tar: ")
    assert first.key == pictures[1].key


def test_a_shard_cut_short_is_an_error_and_not_damaged_samples(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [4])
    tar = tmp_path / snapshot.shards[0].path
    source = Source("web", of_snapshot(snapshot))
    tar.write_bytes(tar.read_bytes()[: source.indexes[0].start[3]])
    with pytest.raises(HeadraceError, match=r"00000000\.tar: ends at byte \d+, the index says"):
        source.read(0, 4)
    assert [record.fault for record in source.records(0, 3)] == [""] * 3


def test_lanes_that_meet_in_a_shard_read_its_index_once(web, monkeypatch):
    reads = []
    monkeypatch.setattr(
        "trainer.stream.indexes.read_index",
        lambda shards, n, patience: reads.append(n) or read_index(shards, n, patience),
    )
    source = Source("web", of_snapshot(web))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda start: source.read(start, 2), range(8)))
    assert sorted(reads) == sorted(set(reads))


@pytest.mark.parametrize("missing", ["path", "index_path"])
def test_a_missing_shard_or_index_fails_naming_it(tmp_path, make_snapshot, pictures, missing):
    snapshot = make_snapshot(tmp_path, pictures, [3, 3])
    gone = getattr(snapshot.shards[1], missing)
    (tmp_path / gone).unlink()
    source = Source("web", of_snapshot(snapshot))
    assert len(source.records(0, 3)) == 3
    with pytest.raises(HeadraceError, match=f"{gone}: no such file"):
        source.read(2, 2)


def test_an_index_of_another_shard_is_refused(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [3, 4])
    one, other = (tmp_path / shard.index_path for shard in snapshot.shards)
    one.write_bytes(other.read_bytes())
    with pytest.raises(HeadraceError, match=rf"holds 4 samples, {snapshot.url} says 3"):
        Source("web", of_snapshot(snapshot)).read(0, 1)


# Tars that are not ours


@pytest.fixture
def foreign(tmp_path, pictures):
    """A tar of three pictures with its index in a cache."""
    shard = write_shard(tmp_path, "0.tar", pictures[:3])
    return Source("web", tar_set(str(tmp_path / shard.path), str(tmp_path / "cache")))


def names(source: Source) -> list[tuple[str, str]]:
    return [(record.key, record.fault) for record in source.records(0, len(source))]


LONG = "x" * 150 + "/" + "y" * 200
NAMES = ["plain", "картинка", LONG, "кот" * 90, "d/" + "e" * 120, "z" * 100, "./dot", "\udcff"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("text_first", [True, False])
def test_long_and_foreign_names_are_delivered_under_their_own_keys(tmp_path, form, text_first):
    wanted = NAMES if form != tarfile.USTAR_FORMAT else ["plain", "d" * 90 + "/" + "e" * 90]
    order = sorted(["txt", "png"], reverse=text_first)
    data = b"".join(
        member(f"{name}.{extension}", f"{extension} {n}".encode(), form)
        for n, name in enumerate(wanted)
        for extension in order
    )
    (tmp_path / "0.tar").write_bytes(data + END)
    source = Source("web", tar_set(str(tmp_path / "0.tar"), str(tmp_path / "cache")))
    assert names(source) == [(name.replace("\udcff", "\\xff"), "") for name in wanted]
    records = source.records(0, len(wanted))
    assert [record.image for record in records] == [b"png %d" % n for n in range(len(wanted))]
    assert [record.text for record in records] == [b"txt %d" % n for n in range(len(wanted))]


def test_a_long_name_that_is_another_samples_is_at_fault(tmp_path):
    tar, cache = tmp_path / "0.tar", str(tmp_path / "cache")
    data = member(LONG + "a.png", b"1") + member(LONG + "b.png", b"2") + END
    tar.write_bytes(data)
    stat = tar.stat()
    source = Source("web", tar_set(str(tar), cache))
    tar.write_bytes(data.replace(b"b.png", b"c.png"))
    os.utime(tar, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # nobody can see that it changed
    (one, other) = source.records(0, 2)
    assert one.fault == ""
    assert other.fault.startswith("not_in_tar: 'xxxx")


def test_a_shard_that_changed_before_its_index_is_opened_is_named(foreign, tmp_path, pictures):
    write_shard(tmp_path, "0.tar", pictures[3:6])
    with pytest.raises(HeadraceError, match=r"/0\.tar: was changed under the run: \d+ bytes of"):
        foreign.read(0, 1)


def test_a_shard_that_changes_after_that_is_named_and_no_sample_is_blamed(
    foreign, tmp_path, pictures
):
    foreign.read(0, 1)
    write_shard(tmp_path, "0.tar", pictures[3:6])
    with pytest.raises(HeadraceError, match=r"/0\.tar: was changed under the run"):
        foreign.read(0, 3)


def test_a_damaged_sample_of_a_shard_that_changed_is_not_blamed(foreign, tmp_path, pictures):
    foreign.read(0, 1)
    tar, image = tmp_path / "0.tar", pictures[1].image
    tar.write_bytes(tar.read_bytes().replace(image, bytes(len(image))))
    with pytest.raises(HeadraceError, match=r"/0\.tar: was changed under the run"):
        foreign.again(1, lambda record: record.image != image)


@pytest.fixture
def answers(monkeypatch):
    """What the store gives instead of the next bytes that are asked of a tar."""
    given: list[bytes] = []
    whole = store.read_bytes

    def wrong(url, *rest):
        return given.pop(0) if given and url.endswith(".tar") else whole(url, *rest)

    monkeypatch.setattr(store, "read_bytes", wrong)
    return given


def test_a_wrong_answer_of_the_store_is_asked_again_and_never_delivered(web, pictures, answers):
    source = Source("web", of_snapshot(web))
    (right,) = source.read(0, 3)
    shifted = store.read_bytes(right.url, BLOCK, BLOCK + len(right.data))
    for wrong in (shifted, bytes(len(right.data)), right.data[:BLOCK] + shifted[BLOCK:]):
        answers.append(wrong)
        assert source.records(0, 3) == [right.record(n) for n in range(3)]
        assert not answers


def test_wrong_bytes_that_come_again_are_a_fault_of_the_shard(web, answers):
    source = Source("web", of_snapshot(web))
    (right,) = source.read(0, 1)
    answers += [bytes(len(right.data))] * 2
    fault = "not_in_tar: no header stands where the index says"
    assert [record.fault for record in source.records(0, 1)] == [fault]


def test_a_store_that_answers_wrongly_twice_and_differently_is_asked_on(web, answers):
    source = Source("web", of_snapshot(web), Patience(first_pause=0.01))
    (right,) = source.read(0, 1)
    answers += [bytes(len(right.data)), b"x" * len(right.data)]
    assert source.records(0, 1) == [right.record(0)]


def test_two_tars_of_one_name_and_size_keep_their_own_bytes(tmp_path, pictures):
    same = replace(pictures[0], image=pictures[0].image[:-1] + b"\0")
    sources = []
    for folder, picture in (("a", pictures[0]), ("b", same)):
        write_shard(tmp_path / folder, "0.tar", [picture])
        tars = str(tmp_path / folder / "0.tar")
        sources.append(Source(folder, tar_set(tars, str(tmp_path / "cache"))))
    images = [source.records(0, 1)[0].image for source in sources]
    assert images == [pictures[0].image, same.image]
