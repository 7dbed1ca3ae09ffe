"""`headrace prune`: what goes, what stays, and that a kill in between changes no end."""

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from jobs import prune
from pipeline.format import pins, retired, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, manifest_bytes, read_snapshot
from tests.conftest import DEMO_DATA
from tests.trainer.conftest import read_pictures, write_shard

OLD = 1_000_000_000


@pytest.fixture
def dataset(tmp_path, demo_data) -> Path:
    """A chain of three snapshots of two shards, each of which it shares with its parent, and one
    snapshot beside the chain."""
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")
    folder = tmp_path / "web"
    names = [hashlib.sha256(bytes([n])).hexdigest()[:16] for n in range(4)]
    shards = [
        write_shard(folder, f"shards/{name}/0000000{n}.tar", pictures[2 * n : 2 * n + 2])
        for n, name in enumerate(names)
    ]
    publish(folder, names[3], None, [shards[3]])
    publish(folder, names[0], None, [shards[0]])
    publish(folder, names[1], names[0], [shards[0], shards[1]])
    publish(folder, names[2], names[1], [shards[1], shards[2]])
    return folder


def publish(folder: Path, name: str, parent: str | None, shards: list) -> None:
    snapshot = Snapshot(str(folder), name, parent, {}, "", {}, 0, tuple(shards), {}, {})
    writing.publish(f"{snapshot.url}/manifest.json", manifest_bytes(snapshot))
    (folder / "LATEST").write_text(f"{name}\n")


def ids(dataset: Path) -> list[str]:
    """The chain, newest first, then the one beside it."""
    newest = read_snapshot(str(dataset))
    middle = read_snapshot(f"{dataset}/snapshots/{newest.parent}")
    chain = [newest.id, middle.id, middle.parent]
    beside = {path.name for path in (dataset / "snapshots").iterdir()} - set(chain)
    return [*chain, *beside]


def files(dataset: Path) -> set[str]:
    return {str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file()}


def shards_of(dataset: Path, *names: str) -> set[str]:
    snapshots = [read_snapshot(f"{dataset}/snapshots/{name}") for name in names]
    shards = [shard for snapshot in snapshots for shard in snapshot.shards]
    return {path for shard in shards for path in (shard.path, shard.index_path)}


def on_disk(dataset: Path) -> set[str]:
    return {path for path in files(dataset) if path.startswith("shards/")}


def age(path: Path) -> None:
    for file in path.rglob("*"):
        os.utime(file, (OLD, OLD))


def test_without_options_nothing_goes(dataset):
    before = files(dataset)
    found = prune.look(str(dataset))
    assert found.kept == tuple(ids(dataset))
    assert (found.retiring, found.files, found.spared) == ((), (), ())
    prune.delete(found)
    assert files(dataset) == before


def test_all_but_the_newest_are_retired_and_only_what_none_of_these_has_is_deleted(dataset):
    newest, middle, oldest, beside = ids(dataset)
    prune.delete(prune.look(str(dataset), keep=2))
    assert on_disk(dataset) == shards_of(dataset, newest, middle)
    assert {name for name in ids(dataset) if retired.is_retired(f"{dataset}/snapshots/{name}")} == {
        oldest,
        beside,
    }
    prune.delete(prune.look(str(dataset), keep=1))
    assert on_disk(dataset) == shards_of(dataset, newest)
    assert len(on_disk(dataset)) == 4
    assert ids(dataset) == [newest, middle, oldest, beside]  # their manifests still tell of them


def test_a_dry_run_lists_what_the_deletion_then_does(dataset, headrace_here):
    before = files(dataset)
    told = headrace_here("prune", dataset, "--keep", "1")
    assert told.returncode == 0, told.stderr
    assert files(dataset) == before
    assert "retiring  " + ids(dataset)[1] in told.stdout
    assert "4 files to delete" in told.stdout
    assert "nothing was done: --delete does it" in told.stdout
    done = headrace_here("prune", dataset, "--keep", "1", "--delete")
    assert done.returncode == 0, done.stderr
    gone = before - files(dataset)
    assert len(gone) == 4
    assert all(path.startswith("shards/") for path in gone)


def test_a_kill_between_two_deletions_changes_no_end(dataset, headrace_here, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    once = headrace_here("prune", dataset, "--keep", "1")
    removed = []

    def remove(url):
        if len(removed) == 2:
            raise Killed
        removed.append(url)
        os.unlink(url.removeprefix("file://"))

    monkeypatch.setattr(prune, "REMOVALS", 1)
    with monkeypatch.context() as killing:
        killing.setattr(writing, "remove", remove)
        with pytest.raises(Killed):
            prune.delete(prune.look(str(dataset), keep=1))
    assert "4 files to delete" in once.stdout
    assert all(url.endswith(".idx.parquet") for url in removed)  # no index names a tar that is gone
    again = prune.look(str(dataset), keep=1)
    assert again.retiring == ()
    prune.delete(again)
    assert on_disk(dataset) == shards_of(dataset, ids(dataset)[0])


def test_a_pinned_snapshot_is_refused_until_its_run_is_released_or_it_is_named(
    dataset, headrace_here, tmp_path, monkeypatch
):
    monkeypatch.setattr(prune, "GRACE_SECONDS", 0)
    newest, middle, *_ = ids(dataset)
    run = f"file://{tmp_path}/run"
    pins.pin(f"{dataset}/snapshots/{middle}", run)
    before = files(dataset)
    assert f"pinned by {run}" in headrace_here("prune", dataset, "--keep", "1").stdout
    refused = headrace_here("prune", dataset, "--keep", "1", "--delete")
    assert refused.returncode == 1
    for word in (middle, run, "--retire", "--release"):
        assert word in refused.stderr.splitlines()[-1]
    assert files(dataset) == before
    headrace_here("prune", dataset, "--keep", "1", "--release", run)
    assert pins.pins(str(dataset)) == []
    pins.pin(f"{dataset}/snapshots/{middle}", run)
    named = headrace_here("prune", dataset, "--keep", "1", "--retire", middle, "--delete")
    assert named.returncode == 0, named.stderr
    assert on_disk(dataset) == shards_of(dataset, newest)


def test_shards_are_deleted_once_the_run_that_has_to_end_has_taken_its_pin_back(
    dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(prune, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(prune, "GRACE_SECONDS", 30)
    oldest = ids(dataset)[2]
    url, before = f"{dataset}/snapshots/{oldest}", on_disk(dataset)
    pins.pin(url, str(tmp_path / "run"))
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(prune.delete, prune.look(str(dataset), keep=2, retire=[oldest]))
        while not (retired.is_retired(url) or deleting.done()):
            time.sleep(0.01)
        assert not wait([deleting], 0.2).done
        assert on_disk(dataset) == before
        pins.unpin(url, str(tmp_path / "run"))
        deleting.result(timeout=60)
    assert on_disk(dataset) < before


def test_one_named_snapshot_is_retired_and_all_others_stay(dataset):
    newest, middle, oldest, beside = ids(dataset)
    prune.delete(prune.look(str(dataset), retire=[f"{dataset}/snapshots/{oldest}"]))
    assert on_disk(dataset) == shards_of(dataset, newest, middle, beside)
    with pytest.raises(retired.Retired, match=f"{newest} is its successor"):
        retired.check(f"{dataset}/snapshots/{oldest}")


def test_the_newest_snapshot_and_an_unknown_one_cannot_be_retired(dataset, tmp_path):
    with pytest.raises(HeadraceError, match=f"--retire {ids(dataset)[0]}: is the newest"):
        prune.look(str(dataset), retire=[ids(dataset)[0]])
    with pytest.raises(HeadraceError, match="--retire 00ff: no snapshot of"):
        prune.look(str(dataset), retire=["00ff"])
    with pytest.raises(HeadraceError, match="no snapshot here"):
        prune.look(str(tmp_path / "nothing"))


def test_what_a_refresh_is_writing_is_spared_until_it_is_old(dataset):
    """One of its files is new, so those that it wrote days ago are not left behind."""
    for path in (
        "shards/00000000000000ff/00000000.tar",
        "snapshots/00000000000000ff/plan/0.parquet",
    ):
        writing.publish(str(dataset / path), b"begun")
    age(dataset / "shards" / "00000000000000ff")
    found = prune.look(str(dataset))
    assert found.files == ()
    assert [file.path for file in found.spared] == [
        "shards/00000000000000ff/00000000.tar",
        "snapshots/00000000000000ff/plan/0.parquet",
    ]
    age(dataset / "snapshots" / "00000000000000ff")
    before = files(dataset)
    prune.delete(prune.look(str(dataset)))
    assert before - files(dataset) == {file.path for file in found.spared}


def test_files_that_are_none_of_ours_stay_however_old(dataset):
    for path in ("shards/README", "shards/mine/00000000.tar", "snapshots/notes.txt", "a.tar"):
        writing.publish(str(dataset / path), b"mine")
        os.utime(dataset / path, (OLD, OLD))
    before = files(dataset)
    prune.delete(prune.look(str(dataset), unfinished_after=0))
    assert files(dataset) == before


def test_a_refresh_that_was_left_behind_and_goes_on_after_the_look_loses_nothing(dataset):
    """It finds its shards of days ago finished, and publishes them."""
    newest = ids(dataset)[0]
    name, pictures = "00000000000000ff", read_pictures(DEMO_DATA / "target" / "val-00000.tar")
    shard = write_shard(dataset, f"shards/{name}/00000000.tar", pictures[:2])
    plan = f"snapshots/{name}/plan/00000000.parquet"
    writing.publish(str(dataset / plan), b"decided")
    age(dataset / "shards" / name)
    age(dataset / "snapshots" / name)
    found = prune.look(str(dataset))
    assert {file.path for file in found.files} == {plan, shard.path, shard.index_path}
    writing.publish(str(dataset / plan), b"decided")
    prune.delete(found)
    assert {plan, shard.path, shard.index_path} <= files(dataset)
    publish(dataset, name, newest, [shard])
    age(dataset)
    prune.delete(found)
    assert {plan, shard.path, shard.index_path} <= files(dataset)


def test_a_child_that_latest_does_not_name_yet_is_kept(dataset):
    newest, middle, *_ = ids(dataset)
    (dataset / "LATEST").write_text(f"{middle}\n")
    assert prune.look(str(dataset), keep=1).kept == (middle, newest)
    assert prune.look(str(dataset), keep=1, retire=[newest]).kept == (middle,)


def test_nothing_goes_where_a_manifest_lies_under_another_id(dataset):
    shutil.copytree(dataset / "snapshots" / ids(dataset)[0], dataset / "snapshots" / ("ab" * 8))
    age(dataset)
    with pytest.raises(HeadraceError, match="a manifest's id is not its folder's name"):
        prune.look(str(dataset))
