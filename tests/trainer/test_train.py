"""Runs of the trainer in processes of their own: exact resume, any number of ranks, clear ends."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from pipeline.format.mixture import Mixture, Source, mixture_bytes
from trainer import checkpoint, metrics, proof, quarantine
from trainer.optimiser import OptimiserConfig, learning_rate
from trainer.stream import digest

MODEL = {
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "head_width": 32,
    "head_depth": 1,
}
STEPS = 24


@pytest.fixture
def config(tmp_path, mixture: Mixture, trusted) -> dict:
    """A run of a few seconds over two sources."""
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    return {
        "run": str(tmp_path / "run"),
        "mixture": str(tmp_path / "mixture.json"),
        "validation": trusted.url,
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "steps": STEPS,
        "log_every": 3,
        "validate_every": 12,
        "checkpoint_every": 4,
        "threads": 1,
    }


def start(config: dict, ranks: int = 1, parent: Path | None = None) -> subprocess.Popen:
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    launch = [sys.executable, "-m"]
    if ranks > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [*launch, "trainer", str(path), *([str(parent)] if parent else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def train(config: dict, ranks: int = 1, parent: Path | None = None) -> Path:
    process = start(config, ranks, parent)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Path(config["run"])


def named(config: dict, name: str, **changes) -> dict:
    return config | {"run": str(Path(config["run"]).with_name(name))} | changes


def tensors(run: Path, tmp_path: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, weights and moments, flat."""
    file = tmp_path / f"{run.name}-{step}.pt"
    dcp_to_torch_save(run / "checkpoints" / f"{step:08d}", file)
    flat: dict[str, torch.Tensor] = {}

    def walk(name: str, value) -> None:
        if isinstance(value, torch.Tensor):
            flat[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}", inner)

    walk("", torch.load(file, weights_only=True))
    return flat


def facts(run: Path) -> list[dict]:
    """The log without what a clock says."""
    lines = metrics.read(run / "metrics.jsonl")
    clock = ("images_per_second", "waits")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def written(run: Path) -> list[bytes]:
    """What a run says it was fed."""
    return [(run / name).read_bytes() for name in (proof.NAME, quarantine.NAME)]


def assert_bitwise_equal(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    assert len(left) > 50
    assert all(torch.equal(left[name], right[name]) for name in left)


def kill_at(step: int, config: dict, process: subprocess.Popen) -> None:
    """Kills a run once it has this checkpoint."""
    marker = Path(config["run"]) / "checkpoints" / f"{step:08d}" / checkpoint.MARKER
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()


def test_a_killed_run_resumed_is_bitwise_the_uninterrupted_one(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken")
    kill_at(8, broken, start(broken))
    reached = checkpoint.newest(Path(broken["run"]) / "checkpoints")
    assert 8 <= int(reached.name) < STEPS
    resumed = train(broken)
    assert_bitwise_equal(tensors(whole, tmp_path), tensors(resumed, tmp_path))
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)


def test_the_proof_has_a_line_a_step_whose_sum_is_in_the_log(config):
    run = train(config | {"validation": None})
    lines = proof.read(str(run))
    steps = [int(proof.digest_of(lines, step), 16) for step in range(len(lines))]
    assert len(steps) == STEPS
    for line in facts(run):
        assert line["digest"] == digest.text(digest.total(steps[: line["step"]]))


def test_colour_jitter_changes_what_is_learnt_and_not_what_is_delivered(config):
    short = config | {"validation": None, "steps": 3}
    plain = facts(train(named(short, "plain")))
    coloured = config["stream"] | {"augment": {"jitter": {"probability": 1}}}
    jittered = facts(train(named(short, "jittered", stream=coloured)))
    assert jittered[0]["digest"] == plain[0]["digest"]
    assert jittered[0]["loss"] != plain[0]["loss"]


def test_one_and_two_ranks_train_on_the_same_batches_to_the_same_losses(config, tmp_path):
    runs = [train(named(config, "one")), train(named(config, "two"), ranks=2)]
    one, two = (facts(run) for run in runs)
    assert written(runs[0]) == written(runs[1])
    assert [line.get("digest") for line in one] == [line.get("digest") for line in two]
    assert [line.get("drawn") for line in one] == [line.get("drawn") for line in two]
    losses = [[line["loss"] for line in run if "loss" in line] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    last = [run[-1]["validation"]["causal"] for run in (one, two)]
    assert last[0] == pytest.approx(last[1], rel=1e-4)


def test_a_checkpoint_of_two_ranks_goes_on_with_one_on_the_same_samples(config):
    whole = facts(train(named(config, "whole")))
    halves = named(config, "halves")
    process = start(halves, ranks=2)
    marker = Path(halves["run"]) / "checkpoints" / "00000004" / checkpoint.MARKER
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.terminate()
    process.communicate()
    resumed = facts(train(halves, ranks=1))
    assert resumed[-2]["digest"] == whole[-2]["digest"]
    assert resumed[-2]["loss"] == pytest.approx(whole[-2]["loss"], rel=1e-3)


def test_training_learns_and_validation_says_so(config):
    losses = [line["validation"] for line in facts(train(config)) if "validation" in line]
    assert len(losses) == 3
    assert losses[-1]["causal"] < 0.9 * losses[0]["causal"]
    assert losses[-1]["prefix"] < 0.9 * losses[0]["prefix"]


def test_a_finished_run_started_again_changes_nothing(config):
    run = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train(config)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def fail(config: dict, parent: Path | None = None) -> str:
    process = start(config, parent=parent)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    return err


@pytest.fixture
def damaged(config, tmp_path, make_snapshot, pictures) -> dict:
    """A run over 18 samples, two of which are not images: a ninth of all that is drawn."""
    snapshot = make_snapshot(tmp_path / "own", pictures, [7, 6, 5])
    for number, shard in ((2, 0), (9, 1)):
        tar, image = tmp_path / "own" / snapshot.shards[shard].path, pictures[number].image
        tar.write_bytes(tar.read_bytes().replace(image, b"\xff" * len(image)))
    mixture = Mixture((Source("web", snapshot.url, 1, 18),))
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    stream = config["stream"] | {"max_bad": 0.2}
    return config | {"validation": None, "stream": stream}


def test_damage_is_counted_and_listed_alike_on_every_number_of_ranks(damaged, pictures):
    runs = [train(named(damaged, f"on-{ranks}"), ranks) for ranks in (1, 3)]
    assert written(runs[0]) == written(runs[1])
    one, three = (facts(run) for run in runs)
    assert [line["bad"] for line in one] == [line["bad"] for line in three]
    assert one[-1]["bad"]["web"]["not_an_image"] == pytest.approx(STEPS * 16 / 9, abs=2)
    state = checkpoint.read_state(checkpoint.newest(runs[1] / "checkpoints"))
    assert state["delivered"]["bad"] == one[-1]["bad"]
    listed = metrics.read(runs[1] / quarantine.NAME)
    assert {line["key"] for line in listed} == {pictures[n].key for n in (2, 9)}
    assert len(listed) == 2


def ranks_of(config: dict, count: int) -> list[subprocess.Popen]:
    """The ranks of a run without torchrun, which a kill would leave them behind."""
    path = Path(config["mixture"]).with_name(f"{Path(config['run']).name}.json")
    path.write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    command = [sys.executable, "-m", "trainer", str(path)]
    environments = [os.environ | world | {"RANK": str(rank)} for rank in range(count)]
    return [subprocess.Popen(command, env=e, stderr=subprocess.PIPE) for e in environments]


@pytest.mark.slow
def test_a_run_killed_at_any_step_on_any_number_of_ranks_was_fed_what_an_undisturbed_one_was(
    damaged,
):
    longer = damaged | {"steps": 60, "stream": damaged["stream"] | {"batch": 24, "lanes": 6}}
    whole = train(named(longer, "whole"))
    broken = named(longer, "broken")
    fed, drawn = Path(broken["run"]) / proof.NAME, random.Random(2401_08541)
    for ranks, begin in ((1, 3), (3, 18), (2, 33)):
        last = drawn.randrange(begin, begin + 12)
        processes = ranks_of(broken, ranks)
        while not fed.exists() or fed.stat().st_size < last * proof.WIDTH:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.002)
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()
        assert 0 < len(proof.read(broken["run"])) < 60
    for process in ranks_of(broken, 4):
        assert process.wait(timeout=120) == 0, process.communicate()
    assert written(Path(broken["run"])) == written(whole)
    ends = [facts(run)[-1] for run in (whole, Path(broken["run"]))]
    assert [end["digest"] for end in ends] == [ends[0]["digest"]] * 2
    assert [end["bad"] for end in ends] == [ends[0]["bad"]] * 2


def test_a_run_says_what_its_stream_will_hold_before_it_reads_a_shard(damaged, tmp_path):
    for shard in (tmp_path / "own").rglob("*.tar"):
        shard.unlink()
    ratio, memory, *error = fail(damaged).splitlines()
    assert ratio == "no source is ever further from its ratio than 0 samples"
    assert memory.startswith("the stream holds at most ")
    assert " MB on each of 1 ranks: blocks " in memory
    assert "no such file" in error[-1]


def test_too_much_damage_stops_the_run_with_source_and_reason(damaged):
    message = fail(damaged | {"stream": damaged["stream"] | {"max_bad": 0.01}})
    assert "source 'web', most of those not_an_image" in message
    assert len(metrics.read(Path(damaged["run"]) / quarantine.NAME)) == 2


def test_a_fork_goes_on_from_the_parents_weights_with_a_stream_from_its_beginning(config, tmp_path):
    parent = train(named(config, "parent", steps=8))
    seeded = {"stream": config["stream"] | {"seed": 3}}
    seeded |= {"validation": None, "keep_checkpoints": 9}
    forked = train(named(config, "forked", steps=20, **seeded), parent=parent)
    inherited = [tensors(parent, tmp_path, 8), tensors(forked, tmp_path, 8)]
    assert_bitwise_equal(*inherited)
    fresh = train(named(config, "fresh", steps=12, **seeded))
    assert written(forked) == written(fresh), "steps 0 to 11 of the stream of that seed"
    rates = {line["step"]: line["lr"] for line in facts(forked)}
    optimiser = OptimiserConfig()
    assert rates == {n: learning_rate(n - 1, 20, optimiser) for n in (9, 12, 15, 18, 20)}
    state = checkpoint.read_state(checkpoint.newest(forked / "checkpoints"))
    assert (state["step"], state["stream"]["step"]) == (20, 12)
    assert state["parent"] == json.loads((forked / "config.json").read_text())["parent"]
    assert state["parent"] == {
        "run": str(parent),
        "step": 8,
        "digest": facts(parent)[-2]["digest"],
        "differences": ["steps was 8, now 20", "seed was 0, now 3"],
    }


def test_a_killed_fork_resumes_like_any_run_without_its_parent(config, tmp_path):
    parent = train(named(config, "parent", steps=8))
    whole = train(named(config, "whole", steps=20), parent=parent / "checkpoints" / "00000008")
    broken = named(config, "broken", steps=20)
    kill_at(12, broken, start(broken, parent=parent))
    shutil.rmtree(parent)
    resumed = train(broken)
    assert_bitwise_equal(tensors(whole, tmp_path, 20), tensors(resumed, tmp_path, 20))
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)
    train(broken, parent=parent)  # the same command again
    assert "not forked from" in fail(broken, parent=tmp_path)


def test_a_fork_that_cannot_be_is_refused_with_the_reason(config, tmp_path):
    parent = train(named(config, "parent", steps=4))
    other = named(config, "other", steps=8)
    assert "no complete checkpoint to fork from" in fail(other, parent=tmp_path)
    assert "`steps` is 4" in fail(named(config, "other", steps=4), parent=parent)
    wider = other | {"model": MODEL | {"embed_dim": 64}}
    assert "embed_dim was 32, now 64" in fail(wider, parent=parent)
    assert checkpoint.newest(Path(other["run"]) / "checkpoints") is None
    assert "not forked from" in fail(named(config, "parent", steps=4), parent=tmp_path)


def test_a_resume_under_another_config_is_refused_with_the_difference(config):
    train(named(config, "run", steps=4))
    message = fail(named(config, "run", steps=8))
    assert "steps: was 4, now 8" in message
    wider = named(config, "run", steps=4, model=MODEL | {"embed_dim": 64})
    assert "'embed_dim': 64" in fail(wider)
    changed = named(config, "run", steps=4, stream=config["stream"] | {"seed": 1})
    assert "seed was 0, now 1" in fail(changed)


def test_a_missing_mixture_is_named(config):
    assert "nowhere.json: no such file" in fail(config | {"mixture": "/nowhere.json"})


def test_a_loss_that_is_not_finite_stops_the_run(config):
    message = fail(config | {"optimiser": {"lr": 1e30, "warmup_fraction": 0}})
    assert "no longer finite at step" in message
