"""Publishing: a snapshot exists when its manifest does, and LATEST never goes astray."""

import dataclasses
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.format.chain import published
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Shard, Snapshot, latest, read_snapshot
from pipeline.write.publish import LIBRARIES, library_versions, publish


@pytest.fixture
def one(tmp_path) -> Snapshot:
    return Snapshot(
        dataset=f"file://{tmp_path}",
        id="1" * 16,
        parent=None,
        config={"a": 1},
        plan_sha256="ab",
        counts={"kept": 3},
        not_downloaded=0,
        shards=(Shard("shards/1/00000000.tar", 3, 10, "cd"),),
        ledger={"image": "ef"},
        libraries=library_versions(),
    )


def test_a_published_snapshot_is_the_latest_and_comes_back(one):
    publish(one, None)
    assert latest(one.dataset) == one.id
    assert read_snapshot(one.dataset) == one


def test_publishing_the_same_again_changes_nothing(one, tmp_path):
    publish(one, None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    publish(one, None)
    publish(one, one.id)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_next_snapshot_moves_latest_and_leaves_the_first(one):
    publish(one, None)
    two = dataclasses.replace(one, id="2" * 16, parent=one.id)
    publish(two, one.id)
    assert read_snapshot(one.dataset) == two
    assert read_snapshot(one.url) == one


@pytest.mark.parametrize("end", ["", "\r\n"])
def test_latest_that_was_moved_by_hand_is_no_other_one_for_how_its_line_ends(one, tmp_path, end):
    publish(one, None)
    (tmp_path / "LATEST").write_bytes(f"{one.id}{end}".encode())
    two = dataclasses.replace(one, id="2" * 16, parent=one.id)
    publish(two, one.id)
    assert latest(one.dataset) == two.id


def test_latest_does_not_move_if_another_job_was_first(one, tmp_path):
    publish(one, None)
    late = dataclasses.replace(one, id="3" * 16)
    with pytest.raises(HeadraceError, match=rf"stale parent: LATEST names {one.id}, and this job"):
        publish(late, None)
    assert latest(one.dataset) == one.id
    assert not (tmp_path / "snapshots" / late.id).exists()


def test_a_snapshot_of_the_same_id_and_other_contents_is_refused_and_stays(one):
    publish(one, None)
    other = dataclasses.replace(one, libraries={"numpy": "0"})
    with pytest.raises(HeadraceError, match=r"manifest\.json: already published with other cont"):
        publish(other, one.id)
    assert read_snapshot(one.dataset) == one


def test_a_manifest_whose_latest_was_not_written_is_finished_by_a_second_run(one, tmp_path):
    publish(one, None)
    (tmp_path / "LATEST").unlink()
    publish(one, None)
    assert latest(one.dataset) == one.id


def test_a_manifest_cannot_be_replaced_by_a_race(one, monkeypatch):
    """The name is taken between the look at LATEST and the write: the first one stays."""
    publish(one, None)
    late = dataclasses.replace(one, counts={"kept": 4})
    monkeypatch.setattr("pipeline.write.publish.latest", lambda dataset: None)
    with pytest.raises(HeadraceError, match="already published with other contents"):
        publish(late, None)
    assert read_snapshot(one.dataset) == one


def test_the_manifest_names_the_libraries_that_bytes_depend_on():
    versions = library_versions()
    assert set(versions) == {*LIBRARIES, "pillow"}
    assert all(version[0].isdigit() for version in versions.values())


def test_of_many_children_one_is_published_and_the_others_leave_no_trace(one, tmp_path):
    for turn in range(5):
        parent = dataclasses.replace(one, id=f"{turn:016x}", dataset=f"file://{tmp_path}/{turn}")
        publish(parent, None)
        children = [
            dataclasses.replace(parent, id=f"{number:016x}", parent=parent.id)
            for number in range(16, 24)
        ]
        start = threading.Barrier(len(children))

        def race(child: Snapshot, parent: Snapshot = parent, start=start) -> str:
            start.wait()
            try:
                publish(child, parent.id)
            except HeadraceError as error:
                return str(error)
            return child.id

        with ThreadPoolExecutor(len(children)) as threads:
            told = list(threads.map(race, children))
        won = [words for words in told if "stale parent" not in words]
        assert won == [latest(parent.dataset)]
        assert [snapshot.id for snapshot in published(parent.dataset)] == [won[0], parent.id]


def test_a_run_that_was_killed_before_latest_moved_is_finished_by_the_next(one, monkeypatch):
    publish(one, None)
    two = dataclasses.replace(one, id="2" * 16, parent=one.id)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.format.writing.swap", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            publish(two, one.id)
    assert latest(one.dataset) == one.id
    publish(two, one.id)
    assert latest(one.dataset) == two.id


def test_publishing_an_ancestor_again_does_not_move_latest_back(one):
    publish(one, None)
    two = dataclasses.replace(one, id="2" * 16, parent=one.id)
    publish(two, one.id)
    publish(one, None)
    publish(one, two.id)
    assert latest(one.dataset) == two.id
