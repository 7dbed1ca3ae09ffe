"""The snapshots of a dataset: who descends from whom, and who stands beside."""

from pathlib import Path

import pytest

from pipeline.format import chain
from pipeline.format.errors import HeadraceError
from tests.pipeline.format.test_snapshot import publish, snapshot

OLD, MIDDLE, NEW, OTHER, LOST = ("0" * 16, "9" * 16, "5" * 16, "1" * 16, "7" * 16)


@pytest.fixture
def dataset(tmp_path) -> str:
    """A chain of three whose ids are in no order, and a snapshot that lost the race for LATEST."""
    url = f"file://{tmp_path}"
    for name, parent in ((OTHER, OLD), (OLD, None), (MIDDLE, OLD), (NEW, MIDDLE)):
        publish(snapshot(url, id=name, parent=parent))
    (tmp_path / "snapshots" / LOST / "plan").mkdir(parents=True)
    return url


def test_the_chain_comes_newest_first_and_what_is_beside_it_last(dataset):
    assert [one.id for one in chain.published(dataset)] == [NEW, MIDDLE, OLD, OTHER]


def test_a_folder_without_a_manifest_is_no_snapshot(dataset):
    assert chain.ids(dataset) == sorted([OLD, MIDDLE, NEW, OTHER])


def test_a_plain_path_names_a_dataset_too(dataset):
    assert chain.published(dataset.removeprefix("file://") + "/") == chain.published(dataset)


def test_the_chain_of_any_snapshot_ends_at_one_without_a_parent(dataset):
    assert [one.id for one in chain.chain(chain.read(dataset, OTHER))] == [OTHER, OLD]
    assert [one.id for one in chain.chain(chain.read(dataset, OLD))] == [OLD]


def test_a_dataset_without_a_snapshot_has_none(tmp_path):
    assert chain.published(str(tmp_path)) == []


def test_snapshots_that_nothing_leads_to_are_found_without_latest(dataset):
    Path(dataset.removeprefix("file://"), "LATEST").unlink()
    assert [one.id for one in chain.published(dataset)] == sorted([OLD, MIDDLE, NEW, OTHER])


def test_a_parent_that_is_missing_is_named(dataset):
    Path(dataset.removeprefix("file://"), "snapshots", OLD, "manifest.json").unlink()
    with pytest.raises(HeadraceError, match=rf"snapshots/{OLD}/manifest\.json: no such file"):
        chain.published(dataset)


def test_a_chain_that_runs_in_a_circle_is_an_error_and_not_a_loop(dataset):
    publish(snapshot(dataset, id=OLD, parent=NEW))
    with pytest.raises(HeadraceError, match=f"{OLD}: names a descendant as its parent"):
        chain.chain(chain.read(dataset, NEW))


def test_a_store_that_is_no_disk_is_listed_the_same(memory):
    for name, parent in ((OLD, None), (NEW, OLD)):
        publish(snapshot(memory, id=name, parent=parent))
    assert [one.id for one in chain.published(memory)] == [NEW, OLD]
