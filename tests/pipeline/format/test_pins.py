"""Pins say which runs need which snapshots."""

import pytest

from pipeline.format import pins, store
from pipeline.format.errors import HeadraceError
from pipeline.format.pins import Pin


def snapshot(tmp_path, name: str) -> str:
    return f"file://{tmp_path}/web/snapshots/{name}"


def test_a_pin_is_found_by_its_dataset_and_is_there_once(tmp_path):
    for _ in range(2):
        pins.pin(snapshot(tmp_path, "b"), str(tmp_path / "run"))
    pins.pin(snapshot(tmp_path, "a"), "s3://bucket/run")
    assert pins.pins(str(tmp_path / "web")) == [
        Pin("a", "s3://bucket/run"),
        Pin("b", f"file://{tmp_path}/run"),
    ]
    assert pins.pins(str(tmp_path / "other")) == []


def test_a_run_that_is_over_takes_its_own_pin_back(tmp_path):
    for name in ("run", "other"):
        pins.pin(snapshot(tmp_path, "a"), str(tmp_path / name))
    for _ in range(2):
        pins.unpin(snapshot(tmp_path, "a"), str(tmp_path / "run"))
    assert pins.pins(str(tmp_path / "web")) == [Pin("a", f"file://{tmp_path}/other")]


def test_releasing_a_dead_run_removes_all_its_pins_and_no_others(tmp_path):
    for name, run in (("a", "run"), ("b", "run"), ("b", "other")):
        pins.pin(snapshot(tmp_path, name), str(tmp_path / run))
    released = pins.release(str(tmp_path / "web"), str(tmp_path / "run"))
    assert [one.snapshot for one in released] == ["a", "b"]
    assert pins.pins(str(tmp_path / "web")) == [Pin("b", f"file://{tmp_path}/other")]


def test_what_a_killed_run_left_and_what_is_taken_back_meanwhile_are_no_pins(tmp_path, monkeypatch):
    url, mine, listed = snapshot(tmp_path, "a"), str(tmp_path / "run"), store.names
    pins.pin(url, mine)
    pins.pin(url, "s3://bucket/run")
    (tmp_path / "web" / "runs" / "pins" / ".a-b.json.killed.partial").touch()

    def names(folder: str) -> set[str]:
        found = listed(folder)
        pins.unpin(url, mine)
        return found

    monkeypatch.setattr(store, "names", names)
    assert pins.pins(str(tmp_path / "web")) == [Pin("a", "s3://bucket/run")]


@pytest.mark.parametrize("text", ["{", "[]", '{"run": "a"}'])
def test_a_file_that_is_no_pin_is_named(tmp_path, text):
    folder = tmp_path / "web" / "runs" / "pins"
    folder.mkdir(parents=True)
    (folder / "a-b.json").write_text(text)
    with pytest.raises(HeadraceError, match=r"pins/a-b\.json: not a pin of headrace: .*; delete"):
        pins.pins(str(tmp_path / "web"))
