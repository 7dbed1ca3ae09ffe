"""Runs of the trainer: exact resume, any number of ranks, clear ends."""

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from pipeline.format.mixture import Mixture, Source, mixture_bytes
from tests.trainer.runs import (
    MODEL,
    STEPS,
    assert_bitwise_equal,
    facts,
    fail,
    finish,
    kill_at,
    named,
    newest,
    start,
    start_ranks,
    tensors,
    train,
    written,
)
from trainer import checkpoint, fork, metrics, proof, quarantine
from trainer.optimiser import OptimiserConfig, learning_rate
from trainer.stream import digest


@pytest.fixture
def config(run_config) -> dict:
    """A run of a few seconds over two sources."""
    return run_config


def test_a_killed_run_resumed_is_bitwise_the_uninterrupted_one(config, tmp_path):
    whole = train(named(config, "whole"))
    broken = named(config, "broken", keep_checkpoints=9)
    kill_at(8, broken, start(broken))
    reached = checkpoint.read_state(newest(broken))
    assert 8 <= reached["step"] < STEPS
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
    state = checkpoint.read_state(newest(named(damaged, "on-3")))
    assert state["delivered"]["bad"] == one[-1]["bad"]
    listed = metrics.read(runs[1] / quarantine.NAME)
    assert {line["key"] for line in listed} == {pictures[n].key for n in (2, 9)}
    assert len(listed) == 2


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
        processes = start_ranks(broken, ranks)
        while not fed.exists() or fed.stat().st_size < last * proof.WIDTH:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.002)
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()
        assert 0 < len(proof.read(broken["run"])) < 60
    finish(start_ranks(broken, 4))
    assert written(Path(broken["run"])) == written(whole)
    ends = [facts(run)[-1] for run in (whole, Path(broken["run"]))]
    assert [end["digest"] for end in ends] == [ends[0]["digest"]] * 2
    assert [end["bad"] for end in ends] == [ends[0]["bad"]] * 2


def test_a_run_says_what_its_stream_will_hold_before_it_reads_a_shard(damaged, tmp_path):
    for shard in (tmp_path / "own").rglob("*.tar"):
        shard.unlink()
    process = start(damaged)
    _, said = process.communicate(timeout=120)
    ratio, memory, error = said.splitlines()
    assert process.returncode == 1
    assert ratio == "no source is ever further from its ratio than 0 samples"
    assert memory.startswith("the stream holds at most ")
    assert " MB on each of 1 ranks: blocks " in memory
    assert error.startswith("error: ")
    assert "no such file" in error


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
    state = checkpoint.read_state(newest(named(config, "forked")))
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
    broken = named(config, "broken", steps=20, keep_checkpoints=9)
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
    assert "no complete checkpoint in it" in fail(other, parent=tmp_path)
    assert "`steps` is 4" in fail(named(config, "other", steps=4), parent=parent)
    wider = other | {"model": MODEL | {"embed_dim": 64}}
    assert "embed_dim was 32, now 64" in fail(wider, parent=parent)
    assert newest(other) is None
    assert "not forked from" in fail(named(config, "parent", steps=4), parent=tmp_path)


def test_a_resume_under_another_config_is_refused_with_the_difference(config):
    train(named(config, "run", steps=4))
    message = fail(named(config, "run", steps=8))
    assert (
        f"{config['run']}/checkpoints: these checkpoints are of another config: steps was 4, now 8"
        in message
    )
    wider = named(config, "run", steps=4, model=MODEL | {"embed_dim": 64})
    assert "model.embed_dim was 32, now 64" in fail(wider)
    changed = named(config, "run", steps=4, stream=config["stream"] | {"seed": 1})
    assert "seed was 0, now 1" in fail(changed)


def test_a_resume_that_would_not_find_its_checkpoints_is_refused_and_moved_ones_are_found(
    config, tmp_path
):
    run, moved = train(config | {"steps": 4, "validation": None}), tmp_path / "moved"
    before = facts(run)
    elsewhere = config | {"steps": 4, "validation": None, "checkpoints": str(moved)}
    message = fail(elsewhere)
    assert f"its checkpoints are in {run}/checkpoints, and `checkpoints` says {moved}" in message
    assert facts(run) == before
    (run / "checkpoints").rename(moved)
    train(elsewhere)
    assert facts(run) == before
    assert fork.parent_of(str(run)) == f"{moved}/00000004"


def test_a_fork_killed_before_its_first_checkpoint_does_not_begin_from_nothing(config):
    parent = train(named(config, "parent", steps=4, validation=None))
    forked = named(config, "forked", steps=8, validation=None)
    run = train(forked, parent=parent)
    shutil.rmtree(run / "checkpoints")
    assert f"a fork of {parent}, and without a checkpoint so far; give --fork" in fail(forked)
    train(forked, parent=parent)


def test_a_second_run_in_a_folder_is_refused_and_disturbs_nothing(config):
    long = config | {"steps": 10_000, "checkpoint_every": 10_000}
    process = start(long)
    while not metrics.read(Path(config["run"]) / "metrics.jsonl"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    assert "another process trains in it; end that one first" in fail(long)
    assert process.poll() is None
    process.kill()
    process.communicate()
    train(config | {"steps": 2})


def test_a_missing_mixture_is_named(config):
    assert "nowhere.json: no such file" in fail(config | {"mixture": "/nowhere.json"})


def test_a_loss_that_is_not_finite_stops_the_run(config):
    message = fail(config | {"optimiser": {"lr": 1e30, "warmup_fraction": 0}, "max_skipped": 3})
    assert "not finite in 3 steps in a row" in message
