"""Publishing: a snapshot exists when its manifest does, and LATEST never goes astray."""

import dataclasses

import pytest

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


def test_latest_does_not_move_if_another_job_was_first(one, tmp_path):
    publish(one, None)
    late = dataclasses.replace(one, id="3" * 16)
    with pytest.raises(HeadraceError, match=rf"LATEST moved from None to {one.id} while this job"):
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
