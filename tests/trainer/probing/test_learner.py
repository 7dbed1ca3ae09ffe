"""A step: on any number of ranks and parts, each head has the gradient that it has alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.format.errors import HeadraceError
from tests.trainer.probing import plain
from tests.trainer.probing.conftest import COLOURS
from tests.trainer.probing.runs import here, on_ranks, weights
from tests.trainer.runs import facts, named
from trainer.distributed import World
from trainer.probing.cells import name
from trainer.probing.config import ProbeConfig
from trainer.probing.heads import KINDS, Norm, init_weights
from trainer.probing.judging import counts
from trainer.probing.labels import held_out
from trainer.probing.learner import ProbeLearner, learner
from trainer.stream.bad import Bad

TOLERANCE = 1e-4
"""Of a gradient's largest value: float32 against float64."""


def made(fields: dict, world: World, **changes) -> ProbeLearner:
    return learner(ProbeConfig.model_validate(fields | changes), world, ["data"])


def expected(config: ProbeConfig, layers: tuple[int, ...]) -> dict[str, tuple]:
    """Loss and gradients of a head of each kind, from the first batch without what is held out."""
    batch = plain.first_batch(config)
    kept = torch.from_numpy(~held_out("data", batch.samples.numpy(), config.hold_out, config.seed))
    assert 0 < kept.sum() < len(kept)
    labels = torch.tensor([config.classes.index(caption) for caption in batch.captions])
    x = plain.features(config, batch.images[kept], layers)
    found = {}
    for kind, head in KINDS.items():
        one = head(Norm(32), 32, 2, len(config.classes))
        init_weights(one, config.seed)
        found[kind] = plain.loss_and_gradient(kind, one.state_dict(), x, labels[kept], 2)
    return found


def gradients(config: dict) -> dict[str, Tensor]:
    """Of the first step: its first moments, but for the decay of these."""
    moment = "/exp_avg"
    return {
        flat.removesuffix(moment).rpartition("/")[2]: value / 0.1
        for flat, value in weights(config, 1).items()
        if flat.endswith(moment)
    }


def check(fields: dict, ways: dict[str, int], **changes) -> None:
    fields = fields | {"steps": 1, "log_every": 1, "hold_out": 0.2, **changes}
    fields |= {"optimiser": {"clip": None}}
    config = ProbeConfig.model_validate(fields)
    windows = [(0, 1), (1, 2)] if config.layers == "search" else [tuple(config.layers)]
    answers = {window: expected(config, window) for window in windows}
    cells = [(window, kind) for window in windows for kind in config.kinds for _ in range(4)]
    for way, ranks in ways.items():
        run = named(fields, way)
        on_ranks(run, ranks) if ranks > 1 else here(run)
        found = gradients(run)
        for number, (window, kind) in enumerate(cells):
            for parameter, gradient in answers[window][kind][1].items():
                scale = TOLERANCE * gradient.abs().max().item()
                ours = found.pop(f"heads.{number}.{parameter}").double()
                assert torch.allclose(ours, gradient, rtol=0, atol=scale), (way, number, parameter)
        assert not found
        (line,) = (line for line in facts(Path(run["run"])) if "loss" in line)
        assert judged(run) == pytest.approx(judged(named(fields, "one")), rel=1e-5)
        losses = [answers[window][kind][0] for window, kind in cells]
        assert line["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def judged(run: dict) -> list[float]:
    """All figures of the first validation, of both sets."""
    line = facts(Path(run["run"]))[0]
    sets = (cell[name] for cell in line["probes"].values() for name in ("test", "held_out"))
    return [figure for one in sets for figure in one.values()]


def test_one_and_two_ranks_have_each_heads_own_gradient(probe_config):
    check(probe_config, {"one": 1, "two": 2}, layers=[0, 3, 6])


def test_parts_and_a_causal_trunk_have_it_too(probe_config):
    check(probe_config, {"one": 1}, layers=[1], attention="causal", compute={"micro_batches": 2})


def test_a_trunk_in_bfloat16_gives_nearly_the_same_losses(probe_config, world):
    exact, rounded = (
        made(probe_config, world, compute={"precision": precision})
        for precision in ("float32", "bfloat16")
    )
    for one in (exact, rounded):
        one.backward(plain.first_batch(one.config))
    assert not torch.equal(exact.losses, rounded.losses)
    assert torch.allclose(exact.losses, rounded.losses, rtol=0.01)


def test_a_step_in_which_nothing_of_a_rank_trains_adds_nothing(probe_config, world):
    one = made(probe_config, world)
    batch = plain.first_batch(one.config)
    all_damaged = [Bad("data", n, "", "", 0, "", "") for n in batch.samples.tolist()]
    loss, flaws = one.backward(replace(batch, bad=all_damaged))
    assert not loss.isfinite()  # nothing trained at all
    assert flaws.tolist() == [0] * 16
    assert not one.clipped().isfinite()
    assert one.model.norms[one.model.windows[0]].num_batches_tracked == 0


def test_what_stands_in_for_a_damaged_image_teaches_nothing(probe_config, world):
    one, two = made(probe_config, world), made(probe_config, world)
    batch = plain.first_batch(one.config)
    damaged = Bad("data", int(batch.samples[3]), "", "", 0, "", "")
    images = batch.images.clone()
    images[3] = 255 - images[3]
    one.backward(replace(batch, bad=[damaged]))
    captions = [*batch.captions[:3], "another", *batch.captions[4:]]
    two.backward(replace(batch, bad=[damaged], images=images, captions=captions))
    pairs = zip(one.model.parameters(), two.model.parameters(), strict=True)
    assert all(torch.equal(left.grad, right.grad) for left, right in pairs)


def test_each_head_is_clipped_for_itself(probe_config, world):
    one = made(probe_config, world, optimiser={"clip": 1.8})
    one.backward(plain.first_batch(one.config))
    before = norms(one)
    assert (before > 1.8).tolist() == [False] * 4 + [True] * 4
    assert one.clipped().item() == pytest.approx(before.norm().item())
    assert torch.allclose(norms(one), before.clamp(max=1.8), rtol=1e-4)


def test_a_head_whose_loss_or_gradient_is_not_finite_sits_the_update_out(probe_config, world):
    one = made(probe_config, world)
    one.model.heads[1].linear.weight.data[0, 0] = float("nan")
    loss, _ = one.backward(plain.first_batch(one.config))
    one.model.heads[2].k.weight.grad.fill_(3e38)  # finite, but its norm is not
    before = norms(one)
    norm = one.clipped()
    assert loss.isfinite()
    others = before[[0, *range(3, 8)]]
    assert norm.item() == pytest.approx(others.norm().item())
    assert norms(one)[[1, 2]].tolist() == [0, 0]
    assert torch.equal(norms(one)[[0, *range(3, 8)]], others)
    assert one.model.not_finite.tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def norms(one: ProbeLearner) -> Tensor:
    heads = ([p.grad.norm() for p in head.parameters()] for head in one.model.heads)
    return torch.stack([torch.stack(list(head)).norm() for head in heads])


def test_each_head_has_its_rate_from_its_peak_to_the_same_end(probe_config, world):
    one = made(probe_config, world, steps=100)
    peaks = [cell.lr for cell in one.model.cells]
    assert set(peaks) == {1e-3, 1e-2}
    assert one.rates(5) == peaks
    assert one.rates(100) == pytest.approx([1e-5] * len(peaks))
    decays = [group["weight_decay"] for group in one.groups()]
    assert decays == [cell.weight_decay for cell in one.model.cells]


def test_images_whose_features_are_not_finite_are_named_and_nothing_is_learnt(
    probe_config, world, monkeypatch
):
    one = made(probe_config, world)
    batch = plain.first_batch(one.config)
    images = batch.images.float()
    images[6] = float("nan")
    monkeypatch.setattr(one, "_images", lambda batch: images)
    _, flaws = one.backward(batch)
    assert flaws.tolist() == [float(n == 6) for n in range(16)]
    assert not one.clipped().isfinite()
    assert one.model.norms[one.model.windows[0]].num_batches_tracked == 0
    assert one.model.not_finite.tolist() == [1] * 8


def test_a_label_that_is_no_class_is_named_in_validation_too(probe_config, world, train_set):
    one = made(probe_config, world, classes=(*COLOURS[1:], "grey"))
    with pytest.raises(HeadraceError, match=r"sample 4 \(000104\) is labelled 'white'|'black'"):
        one.validate(0, lambda: None)


def test_cells_are_logged_by_their_names(probe_config, world):
    one = made(probe_config, world, layers="search", kinds=["linear"])
    found = one.validate(0, lambda: None)["probes"]
    assert list(found) == [name(cell, 3) for cell in one.model.cells]
    cell = found["linear/lr=0.01,wd=0.1,layers=1-6"]
    assert cell["layers"] == [1, 2, 3, 4, 5, 6]
    assert cell["held_out"] is None
    assert 0 <= cell["test"]["top1"] <= cell["test"]["top5"] <= cell["test"]["n"] == 24


def test_counted_right_is_only_what_is_rated_above_all_else():
    labels = torch.tensor([0, 1, 2, 3, 0, 5])
    logits = torch.eye(6, 8)
    logits[1] = 0  # all alike: a guess
    logits[2] = float("nan")
    logits[3, 4:] = 2  # the fifth guess
    logits[4, 0], logits[4, 3:] = 1, 2  # the sixth
    logits[5, 7] = 2  # the second
    assert counts(logits, labels)[:2].tolist() == [1, 3]


def test_flops_are_of_the_trunk_once_and_of_the_heads_both_ways(probe_config, world):
    cell = {"grid": {"lr": [1e-3], "weight_decay": [0]}}
    few = made(probe_config, world, layers=[0], **cell)
    more = made(probe_config, world, layers=[7], **cell)
    block = 2 * 16 * 12 * 32**2 + 4 * 16**2 * 32
    assert more.flops - few.flops == pytest.approx(7 * block)
    linear = made(probe_config, world, layers=[0], kinds=["linear"], **cell)
    attentive = 4 * 2 * 16 * 32 * 2 + 3 * 2 * (32**2 + 32 * 8)
    assert few.flops - linear.flops == pytest.approx(attentive)


def test_held_out_samples_are_the_same_share_of_every_part_and_depend_on_the_source():
    flags = held_out("data", np.arange(10_000), 0.1, 0)
    assert 900 < flags[:5000].sum() * 2 < 1100
    assert (flags == held_out("data", np.arange(10_000), 0.1, 0)).all()
    assert (flags != held_out("other", np.arange(10_000), 0.1, 0)).any()
    assert (held_out("data", np.arange(10_000), 0.2, 0) >= flags).all()
    assert not held_out("data", np.arange(10_000), 0, 0).any()
