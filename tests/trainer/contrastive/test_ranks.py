"""Ranks, copies and parts: real processes, the gradient of one dense pass."""

import itertools
from pathlib import Path

import pytest
import torch

from pipeline.clip import saving
from pipeline.clip.opening import new_model
from tests.trainer.contrastive import dense
from tests.trainer.contrastive.models import TIMM, VIT
from tests.trainer.contrastive.poisoned import IMAGE
from tests.trainer.contrastive.runs import ROOT, start
from tests.trainer.runs import assert_bitwise_equal, facts, named, tensors, train_each
from trainer import metrics, skipping
from trainer.contrastive.config import FilterConfig
from trainer.stream.stream import Stream

TOLERANCE = 1e-5
"""Of a gradient's largest value: float32 against float64."""

CUTS = {"one-rank": (1, {}), "two-ranks": (2, {})}
MORE_CUTS = {
    "four-ranks": (4, {}),
    "two-ranks-in-parts": (2, {"micro_batches": 4, "recompute": True}),
    "two-copies-in-parts": (4, {"shard_over": 2, "micro_batches": 2}),
    "four-copies": (4, {"shard_over": 1}),
}
FROZEN = TIMM | {"custom_text": True, "init_logit_bias": -10.0}
"""A tower of timm's, and a parameter that is not trained."""


def gradient(run: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """Of the first step: its first moments, but for the decay of these."""
    flat = tensors(run, tmp_path, 1)
    moment = "/exp_avg"
    return {
        name.removesuffix(moment).rpartition("/")[2]: value / 0.1
        for name, value in flat.items()
        if name.endswith(moment)
    }


def check(fields: dict, tmp_path: Path, cuts: dict[str, tuple[int, dict]]) -> None:
    fields = fields | {"steps": 1}
    config = FilterConfig.model_validate(fields)
    loss, expected = dense.loss_and_gradient(config, dense.first_batch(config))
    norm = torch.stack([one.norm() for one in expected.values()]).norm().item()
    ways = {name: named(fields, name, compute=compute) for name, (_, compute) in cuts.items()}
    for ranks in {ranks for ranks, _ in cuts.values()}:
        same = (ways[name] for name, way in cuts.items() if way[0] == ranks)
        train_each(same, ranks, tmp_path, FilterConfig)
    digests = set()
    for way in ways.values():
        run = Path(way["run"])
        dense.assert_alike(gradient(run, tmp_path), expected, TOLERANCE)
        (line,) = facts(run)
        assert line["loss"] == pytest.approx(loss, rel=1e-5)
        assert line["grad_norm"] == pytest.approx(norm, rel=1e-5)
        digests.add(line["digest"])
    assert len(digests) == 1


def test_one_and_two_ranks_have_the_gradient_of_one_dense_pass(filter_config, tmp_path):
    check(filter_config, tmp_path, CUTS)


@pytest.mark.slow
def test_more_ranks_copies_and_parts_have_it_too(filter_config, tmp_path):
    check(filter_config, tmp_path, MORE_CUTS)


@pytest.mark.slow
def test_copies_in_parts_have_it_of_a_model_of_timm_that_is_trained_in_part(
    filter_config, tmp_path
):
    cut = {"two-copies-in-parts": (2, {"shard_over": 1, "micro_batches": 2})}
    check(filter_config | {"model": FROZEN}, tmp_path, cut)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "parts"), [(1, 1), (2, 2)])
def test_a_step_that_is_not_finite_is_skipped_on_all_ranks_and_its_sample_named(
    filter_config, tmp_path, ranks, parts
):
    config = filter_config | {"steps": 5, "log_every": 1, "checkpoint_every": 1}
    config |= {"keep_checkpoints": 9, "compute": {"micro_batches": parts}}
    script = (ROOT / "tests/trainer/contrastive/poisoned.py",)
    process = start(config, ranks, script, ("nan", ranks - 1, 3))
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    run = Path(config["run"])
    assert_bitwise_equal(tensors(run, tmp_path, 3), tensors(run, tmp_path, 4))
    assert [line["skipped"] for line in facts(run)] == [0, 0, 0, 1, 1]
    (line,) = metrics.read(run / skipping.NAME)
    assert line["samples"] == [sample_of(config, ranks, 3)]


def sample_of(fields: dict, ranks: int, step: int) -> dict:
    """The sample that was poisoned, of the last rank."""
    config = FilterConfig.model_validate(fields)
    with Stream(config.data, config.stream, ranks - 1, ranks) as stream:
        batch = next(itertools.islice(stream, step, None))
        source = stream.names[batch.sources[IMAGE]]
        return {"source": source, "sample": int(batch.samples[IMAGE]), "key": batch.keys[IMAGE]}


@pytest.mark.slow
def test_ranks_that_would_begin_with_other_weights_are_stopped(filter_config, tmp_path):
    for rank, seed in ((0, 0), (1, 1)):
        made = new_model(VIT, seed, "model")
        folder = str(tmp_path / str(rank) / "model")
        saving.save(folder, VIT, made.preprocess_cfg, made.clip.state_dict(), {})
    program = (Path(__file__).with_name("elsewhere.py"),)
    fields = filter_config | {"model": "local-dir:model"}
    process = start(fields, 2, program, (tmp_path,))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "model: local-dir:model is not the same on all ranks" in err
