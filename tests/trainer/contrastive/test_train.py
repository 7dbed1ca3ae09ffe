"""Whole trainings of a filter: they learn, they repeat, they resume."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from tests.trainer.contrastive.models import VIT, dropping
from tests.trainer.contrastive.runs import STEPS, here, start, train
from tests.trainer.runs import (
    assert_bitwise_equal,
    facts,
    kill_at,
    named,
    newest,
    tensors,
    written,
)
from trainer.contrastive.towers import MAX_LOGIT_SCALE


def test_the_loss_falls_below_that_of_a_guess(filter_config):
    losses = [line["loss"] for line in here(filter_config, steps=40, log_every=1)]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert sum(losses[-5:]) / 5 < math.log(16)


def test_a_run_that_was_killed_and_resumed_has_the_bits_of_one_that_was_not(
    filter_config, tmp_path
):
    """Also where a model draws random numbers."""
    config = filter_config | {"model": dropping(VIT)}
    here(named(config, "whole"))
    cut = named(config, "cut")
    kill_at(4, cut, start(cut))
    assert newest(cut) != f"{cut['run']}/checkpoints/{STEPS:08d}"
    here(cut)
    whole, resumed = (Path(config["run"]).with_name(name) for name in ("whole", "cut"))
    assert_bitwise_equal(tensors(whole, tmp_path, STEPS), tensors(resumed, tmp_path, STEPS))
    assert facts(whole) == facts(resumed)
    assert written(whole) == written(resumed)


@pytest.mark.slow
def test_two_ranks_resume_to_the_same_bits_and_one_rank_to_the_same_samples(
    filter_config, tmp_path
):
    whole = train(named(filter_config, "whole"), 2)
    for ranks in (2, 1):
        config = named(filter_config, f"resumed-on-{ranks}")
        stopped = start(config, 2)
        kill_at(4, config, stopped)
        resumed = train(config, ranks)
        assert written(resumed) == written(whole)
        left, right = tensors(whole, tmp_path, STEPS), tensors(resumed, tmp_path, STEPS)
        if ranks == 2:
            assert_bitwise_equal(left, right)
        assert facts(resumed)[-1]["loss"] == pytest.approx(facts(whole)[-1]["loss"], rel=1e-4)


def test_the_temperature_is_back_in_its_bounds_after_an_update(filter_config, tmp_path):
    hot = VIT | {"init_logit_scale": 6.0}
    here(filter_config, model=hot, steps=1)
    scale = tensors(Path(filter_config["run"]), tmp_path, 1)["/model/clip.logit_scale"]
    assert scale.item() == pytest.approx(MAX_LOGIT_SCALE)


def test_a_resume_with_another_model_or_other_sentences_is_refused(filter_config):
    here(filter_config, steps=1)
    wider = VIT | {"embed_dim": 24}
    for changes, words in (
        ({"model": wider}, "model.embed_dim was 16, now 24"),
        ({"templates": ["web"]}, r"templates was \[\], now \['web'\]"),
    ):
        with pytest.raises(HeadraceError, match=words):
            here(filter_config, steps=1, **changes)


def test_a_snapshot_tars_and_a_mixture_are_all_pairs(
    filter_config, tmp_path, make_snapshot, pictures
):
    snapshot = make_snapshot(tmp_path / "own", pictures, [8, 8])
    tars = [str(tmp_path / "own" / shard.path) for shard in snapshot.shards]
    one = Mixture((Source("data", snapshot.url, 1, snapshot.samples),))
    (tmp_path / "one.json").write_bytes(mixture_bytes(one))
    pattern = tars[0].replace("00000000.tar", "{00000000..00000001}.tar")
    runs = []
    for number, pairs in enumerate(
        (str(tmp_path / "own"), str(tmp_path / "one.json"), pattern, tars)
    ):
        config = named(filter_config, str(number), pairs=pairs, steps=2, checkpoint_every=2)
        here(config)
        runs.append(tensors(Path(config["run"]), tmp_path, 2))
    for other in runs[1:]:
        assert_bitwise_equal(runs[0], other)


def test_too_many_damaged_pairs_end_the_run(filter_config, tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path / "own", pictures, [7, 6, 5])
    tar = tmp_path / "own" / snapshot.shards[1].path
    tar.write_bytes(tar.read_bytes().replace(pictures[9].image, b"\xff" * len(pictures[9].image)))
    with pytest.raises(HeadraceError, match="most of those not_an_image"):
        here(filter_config, pairs=str(tmp_path / "own"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_all_that_a_run_on_gpus_does_at_once_learns_nearly_the_same(filter_config):
    """Of more blocks than torch compiles again without complaint."""
    parts = ("vision_cfg", "text_cfg")
    deep = VIT | {part: VIT[part] | {"layers": 9} for part in parts}
    few = filter_config | {"model": deep, "steps": 2, "log_every": 1}
    at_once = {"precision": "bfloat16", "compile": True, "recompute": True, "micro_batches": 2}
    plain = here(named(few, "plain"))
    for one, two in zip(plain, facts(train(named(few, "all", compute=at_once), 2)), strict=True):
        assert one["digest"] == two["digest"]
        assert one["loss"] != two["loss"]
        for learnt in ("loss", "grad_norm"):
            assert one[learnt] == pytest.approx(two[learnt], rel=0.02)


def test_weights_are_the_same_after_the_same_training(filter_config, tmp_path):
    runs = [named(filter_config, name, steps=3, checkpoint_every=3) for name in ("one", "two")]
    for config in runs:
        torch.rand(3)
        here(config)
    left, right = (tensors(Path(config["run"]), tmp_path, 3) for config in runs)
    assert_bitwise_equal(left, right)


def test_a_store_that_is_busy_at_the_beginning_is_asked_again(filter_config, busy_twice):
    stream = filter_config["stream"] | {"patience": {"first_pause": 0.01}}
    here(filter_config, stream=stream, steps=1)
    assert not busy_twice
