"""Subset files: read as DataComp's resharder reads them, and written so that it can."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide import selection
from pipeline.decide.selection import SelectConfig, distinct, halves, prepare, write_uids
from pipeline.decide.verdict import Verdicts
from pipeline.format.errors import HeadraceError
from tests.pipeline.making import rows


def datacomp_array(uids: list[str]) -> np.ndarray:
    """As DataComp's scripts make it of uids."""
    array = np.array([(int(u[:16], 16), int(u[16:32], 16)) for u in uids], np.dtype("u8,u8"))
    array.sort()
    return array


def random_uids(count: int, bits: int = 128, seed: int = 1) -> list[str]:
    random = np.random.default_rng(seed)
    return [f"{int.from_bytes(random.bytes(16)) >> (128 - bits):032x}" for _ in range(count)]


def saved(path, uids: list[str]) -> SelectConfig:
    np.save(path, datacomp_array(uids))
    return SelectConfig(uids=str(path))


def judged(config: SelectConfig, *parts: list[str]) -> tuple[list[list[str]], int]:
    """Uids that stand in each part, and how many different ones were met."""
    chosen = prepare(config)
    stand, places = [], []
    for part in parts:
        table = rows(*({"uid": uid} for uid in part)).select(sorted(selection.columns(config)))
        verdicts = Verdicts(len(part))
        selection.drop_not_selected(verdicts, table, chosen)
        places.append(selection.met(chosen, table["uid"]))
        stand.append([uid for uid, kept in zip(part, verdicts.kept, strict=True) if kept])
        assert set(verdicts.reason) <= {None, "not_selected"}
    return stand, distinct(chosen, places)


@pytest.mark.parametrize("bits", [128, 66, 6])
def test_what_is_listed_stands(tmp_path, bits):
    """With 66 bits many uids share their high half, with 6 many are equal."""
    pool, others = random_uids(600, bits), random_uids(300, bits, seed=2)
    listed = pool[:200] + others
    stand, met = judged(saved(tmp_path / "uids.npy", listed), pool[:300], pool[300:])
    assert stand == [[u for u in part if u in set(listed)] for part in (pool[:300], pool[300:])]
    assert met == len(set(pool) & set(listed))


def test_repeats_are_counted_and_kept_once(tmp_path):
    uids = random_uids(5)
    config = saved(tmp_path / "uids.npy", [uids[0]] * 3 + [uids[1]] + [uids[2]] * 2)
    chosen = prepare(config)
    assert (chosen.listed, chosen.repeats) == (6, 3)
    stand, met = judged(config, uids[:2], uids[1:])
    assert stand == [uids[:2], uids[1:3]]
    assert met == 3 == chosen.listed - chosen.repeats


def test_missing_uids_are_those_that_were_not_met(tmp_path):
    uids = random_uids(50)
    config = saved(tmp_path / "uids.npy", uids + uids[:10])
    chosen = prepare(config)
    _, met = judged(config, uids[:20], uids[10:30])
    assert chosen.listed - chosen.repeats - met == 20


def test_a_dropped_row_was_met_all_the_same(tmp_path):
    uids = random_uids(2)
    chosen = prepare(saved(tmp_path / "uids.npy", uids))
    verdicts = Verdicts(1)
    verdicts.drop_row(0, selection.Reason.UNREADABLE, "x")
    table = rows({"uid": uids[0]})
    selection.drop_not_selected(verdicts, table, chosen)
    assert distinct(chosen, [selection.met(chosen, table["uid"])]) == 1
    assert verdicts.reason == ["unreadable"]


def test_the_reason_names_the_file(tmp_path):
    chosen = prepare(saved(tmp_path / "uids.npy", random_uids(3)))
    verdicts = Verdicts(1)
    selection.drop_not_selected(verdicts, rows({"uid": "f" * 32}), chosen)
    assert verdicts.detail == [f"not listed in {tmp_path / 'uids.npy'}"]


def test_the_ends_of_the_file_are_found(tmp_path):
    uids = ["0" * 32, "0" * 15 + "1" + "0" * 16, "f" * 31 + "e", "f" * 32]
    around = ["0" * 31 + "1", "8" * 32, "f" * 16 + "0" * 16]
    stand, met = judged(saved(tmp_path / "uids.npy", uids), uids + around)
    assert stand == [uids]
    assert met == 4


def test_a_raw_file_is_read_like_a_saved_array(tmp_path):
    uids = random_uids(20)
    (tmp_path / "uids.bin").write_bytes(datacomp_array(uids[:10]).tobytes())
    stand, _ = judged(SelectConfig(uids=str(tmp_path / "uids.bin")), uids)
    assert stand == [uids[:10]]


@pytest.mark.parametrize("name", ["uids.npy", "uids.bin"])
def test_an_empty_file_selects_nothing(tmp_path, name):
    if name == "uids.npy":
        np.save(tmp_path / name, datacomp_array([]))
    else:
        (tmp_path / name).touch()
    stand, met = judged(SelectConfig(uids=str(tmp_path / name)), random_uids(3))
    assert (stand, met) == ([[]], 0)


def test_a_part_without_rows_is_no_trouble(tmp_path):
    assert judged(saved(tmp_path / "uids.npy", random_uids(3)), []) == ([[]], 0)


@pytest.mark.parametrize("at", [1, 63, 64, 65, 199])
def test_an_unsorted_file_is_refused_wherever_the_fault_lies(tmp_path, monkeypatch, at):
    monkeypatch.setattr(selection, "CHECKED_AT_ONCE", 64)
    array = datacomp_array(random_uids(200))
    array[[at - 1, at]] = array[[at, at - 1]]
    np.save(tmp_path / "uids.npy", array)
    with pytest.raises(HeadraceError, match=r"uids\.npy: its entries are not sorted"):
        prepare(SelectConfig(uids=str(tmp_path / "uids.npy")))


def test_repeats_across_blocks_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "CHECKED_AT_ONCE", 3)
    uids = [uid for uid in random_uids(10) for _ in range(4)]
    assert prepare(saved(tmp_path / "uids.npy", uids)).repeats == 30


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "uids.npy"
    for array in (np.arange(4), np.zeros((2, 2), np.uint64), np.zeros((2, 2), "u8,u8")):
        np.save(path, array)
        with pytest.raises(HeadraceError, match=r"uids\.npy: holds .* one column of `u8,u8`"):
            prepare(SelectConfig(uids=str(path)))
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(HeadraceError, match=r"uids\.npy: not a subset file"):
        prepare(SelectConfig(uids=str(path)))
    path.write_bytes(b"17 bytes, not 16.")
    with pytest.raises(HeadraceError, match=r"uids\.npy: not a subset file"):
        prepare(SelectConfig(uids=str(path)))
    np.save(path, datacomp_array(random_uids(100)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HeadraceError, match=r"uids\.npy: not a subset file"):
        prepare(SelectConfig(uids=str(path)))


def test_a_file_that_is_not_there_or_not_local_is_refused(tmp_path):
    with pytest.raises(HeadraceError, match="cannot be read: No such file"):
        prepare(SelectConfig(uids=str(tmp_path / "none.npy")))
    with pytest.raises(HeadraceError, match="copy it to a local disk"):
        prepare(SelectConfig(uids="memory://uids.npy"))


def test_uids_are_written_as_datacomp_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "CHECKED_AT_ONCE", 7)
    uids = random_uids(50) + random_uids(5)
    write_uids(str(tmp_path / "out.npy"), pa.chunked_array([uids[:20], uids[20:]]))
    written = np.load(tmp_path / "out.npy")
    assert written.dtype == np.dtype("u8,u8")
    assert (written == datacomp_array(uids)).all()
    np.save(tmp_path / "theirs.npy", datacomp_array(uids))
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
    assert prepare(SelectConfig(uids=str(tmp_path / "out.npy"))).repeats == 5


def test_uids_are_read_as_two_numbers():
    found = halves(pa.chunked_array([["0123456789abcdef" + "f" * 16], []], pa.string()))
    assert found.tolist() == [[0x0123456789ABCDEF, 2**64 - 1]]
    assert halves(pa.chunked_array([[]], pa.string())).shape == (0, 2)
