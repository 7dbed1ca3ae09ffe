"""Runs pin what they read; one that is retired ends them, with a checkpoint to fork from."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from pipeline.format import pins, retired
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.patience import Patience
from pipeline.format.retired import Retired
from pipeline.format.snapshot import Snapshot, manifest_bytes, read_snapshot
from tests.trainer.ranks import ranks
from tests.trainer.stream import pinning
from trainer import checkpoint, snapshots
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.snapshots import Snapshots, forgetting
from trainer.stream.ordered import held_out
from trainer.stream.pinned import Pinned
from trainer.stream.stream import Stream
from trainer.train import train

ENDLESS = {"steps": 1_000, "checkpoint_every": 1_000_000, "validation": None, "log_every": 2}
"""It saves when it is stopped, and never else."""


@pytest.fixture
def mine(tmp_path, make_snapshot, pictures) -> Snapshot:
    """A snapshot of its own, as it will be retired."""
    return make_snapshot(tmp_path / "web", pictures, [9, 8, 6])


@pytest.fixture
def fields(tmp_path, run_config, mine) -> dict:
    """A run on it, for half a second."""
    return run_config | {"mixture": mixture(tmp_path / "mine.json", mine), "steps": 4}


def mixture(path: Path, snapshot: Snapshot) -> str:
    source = Source("web", snapshot.url, 1, snapshot.samples)
    path.write_bytes(mixture_bytes(Mixture((source,))))
    return str(path)


def config(fields: dict, **changes) -> TrainConfig:
    return TrainConfig.model_validate(fields | changes)


def successor(snapshot: Snapshot, **changes) -> Snapshot:
    """The same shards under another id."""
    child = dataclasses.replace(snapshot, id="00" * 8, **changes)
    folder = Path(child.url.removeprefix("file://"))
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest_bytes(child))
    return read_snapshot(child.url)


def test_a_run_pins_its_sources_and_its_validation_until_its_last_step(fields, mine, trusted):
    run = f"file://{fields['run']}"
    seen = []

    def held() -> list[str]:
        """Of this run: other tests kill theirs, which keep their pins."""
        both = [*pins.pins(mine.dataset), *pins.pins(trusted.dataset)]
        return [pin.snapshot for pin in both if pin.run == run]

    train(config(fields), lambda _: seen.append(held()))
    assert seen
    assert all(found == [mine.id, trusted.id] for found in seen)
    assert held() == []


def test_a_run_whose_snapshot_is_retired_saves_and_its_fork_goes_on(
    fields, mine, tmp_path, monkeypatch
):
    monkeypatch.setattr(snapshots, "LOOK_SECONDS", 0.01)
    child = successor(mine)

    def retire(line):
        if line.get("step") == 4:
            assert pins.pins(mine.dataset)
            retired.retire(mine.url, child.id)

    with pytest.raises(Retired, match=f"{child.url} is its successor.*--fork RUN"):
        train(config(fields, **ENDLESS), retire)
    saved = checkpoint.read_state(checkpoint.newest(f"{fields['run']}/checkpoints"))
    assert saved["step"] >= 4
    assert pins.pins(mine.dataset) == []
    with pytest.raises(Retired):
        train(config(fields, **ENDLESS))
    more = {"steps": saved["step"] + 2, "run": str(tmp_path / "fork"), "validation": None}
    more["mixture"] = mixture(tmp_path / "child.json", child)
    lines = []
    train(config(fields, **more, log_every=1), lines.append, fields["run"])
    assert [line["step"] for line in lines] == [saved["step"] + 1, saved["step"] + 2]


def test_a_shard_that_is_gone_with_its_snapshot_is_no_damage_and_the_run_saves(fields, mine):
    def prune(line):
        if line.get("step") == 4:
            retired.retire(mine.url, successor(mine).id)
            shutil.rmtree(Path(mine.dataset.removeprefix("file://")) / "shards")

    with pytest.raises(Retired):
        train(config(fields, **ENDLESS), prune)
    assert checkpoint.newest(f"{fields['run']}/checkpoints")


def test_a_retired_snapshot_is_opened_for_no_reading(fields, mine):
    Stream(mine.url, config(fields).stream).close()
    retired.retire(mine.url, successor(mine).id)
    for named in (mine.url, fields["mixture"]):
        with pytest.raises(Retired, match=f"^{mine.url}: was retired"):
            Stream(named, config(fields).stream)
    with pytest.raises(Retired):
        held_out(mine.url, Patience())


def test_a_dataset_that_cannot_be_written_to_is_read_all_the_same(tmp_path, caplog):
    (tmp_path / "web").write_text("a file where the dataset's folder would be")
    run = Snapshots((f"file://{tmp_path}/web/snapshots/a",), str(tmp_path / "run"), leads=True)
    run.pin()
    assert "not pinned, so `headrace prune` will not ask" in caplog.text
    run.release()
    assert not run.retired()


def test_copies_of_what_the_successor_has_not_leave_the_nodes_disk(
    fields, mine, tmp_path, monkeypatch
):
    monkeypatch.setenv("COUNTING_LOG", str(tmp_path / "log"))
    shards, cache = pinning.counted(mine.url), Pinned(str(tmp_path / "cache"), 10**8)
    cache.want(shards)
    pinning.wait_for(cache)
    copies = tmp_path / "cache" / "shards"
    assert len(list(copies.glob("*.tar"))) == 3
    child = successor(mine, shards=mine.shards[2:])
    far = [one.url.replace("file://", "counting://") for one in (mine, child)]
    stream = fields["stream"] | {"cache": {"folder": str(tmp_path / "cache"), "max_bytes": 10**8}}
    with (
        pytest.raises(Retired),
        forgetting(config(fields, stream=stream), World(0, 1, None)),
    ):
        raise Retired(*far)
    assert [path.stem for path in copies.glob("*.tar")] == [shards.fingerprint(2)]


RANKS = """
from trainer import distributed
from trainer.control import Control, Stopped

with distributed.join() as world, Control() as control:
    try:
        for step in range(1000):
            control.poll()
            if step == 5 and world.rank == 1:
                control.retire()
    except Stopped as stopped:
        print(step, stopped.signal)
"""


@pytest.mark.slow
def test_all_ranks_stop_at_the_step_at_which_one_heard_of_a_retirement():
    with ranks(2, RANKS) as started:
        told = [process.communicate(timeout=120)[0] for process in started]
    assert told == ["7 retirement\n"] * 2
