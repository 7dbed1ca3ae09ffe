"""Whole trainings of probes: they learn, they resume, and heads leave each other alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.probing.conftest import COLOURS, PICTURES, drawn, exported
from tests.trainer.probing.runs import Killed, here, weights
from tests.trainer.runs import assert_bitwise_equal, facts, named
from trainer.probing import choosing
from trainer.probing.config import ProbeConfig
from trainer.probing.labels import held_out
from trainer.probing.layers import windows


def probes(lines: list[dict]) -> dict[str, dict]:
    """Of the last validation."""
    return [line["probes"] for line in lines if "probes" in line][-1]


def test_probes_of_a_trunk_learn_what_it_sees(probe_config):
    lines = here(probe_config, steps=30, hold_out=0.2, checkpoint_every=30)
    before, *_, after = (line["probes"] for line in lines if "probes" in line)
    assert len(after) == 8
    for kind in ("attentive", "linear"):
        name, cell = choosing.chosen(after, kind)
        assert name.startswith(f"{kind}/lr=")
        assert cell["test"]["n"] == 24
        assert cell["held_out"]["n"] == held_out("data", np.arange(48), 0.2, 0).sum() > 4
        assert cell["test"]["top1"] > 12 > before[name]["test"]["top1"]
        assert cell["test"]["top1"] <= cell["test"]["top5"] <= 24
        assert cell["test"]["loss"] < math.log(8)
        assert cell["not_finite"] == 0


def test_a_run_that_was_killed_and_resumed_has_the_bits_of_one_that_was_not(probe_config):
    stream = probe_config["stream"] | {"augment": {}}  # jitter and RandAugment as by default
    changes = {"hold_out": 0.2, "stream": stream}
    whole, cut = (named(probe_config, name, **changes) for name in ("whole", "cut"))
    here(whole)
    with pytest.raises(Killed):
        here(cut, kill_after=6)
    here(cut)
    assert_bitwise_equal(weights(whole, 12), weights(cut, 12))
    assert facts(Path(whole["run"])) == facts(Path(cut["run"]))


def test_a_head_that_is_not_finite_leaves_the_others_their_bits(probe_config):
    ways = {
        name: named(probe_config, name, kinds=["attentive"], grid={"lr": [1e-3, rate]})
        for name, rate in (("sound", 1e-2), ("broken", 1e38))
    }
    found = {name: probes(here(config)) for name, config in ways.items()}
    sound, broken = (weights(config, 12) for config in ways.values())
    others = [name for name in sound if any(f"heads.{n}." in name for n in (0, 1))]
    assert len(others) > 16
    assert all(torch.equal(sound[name], broken[name]) for name in others)
    sat_out = [cell["not_finite"] > 0 for cell in found["broken"].values()]
    assert sat_out == [False, False, True, True]
    assert not any(cell["not_finite"] for cell in found["sound"].values())
    (line,) = [one for one in facts(Path(ways["broken"]["run"])) if one["step"] == 9]
    assert line["skipped"] == 0
    assert math.isfinite(line["loss"])


def test_what_is_held_out_teaches_nothing(probe_config, tmp_path, make_snapshot):
    """Other pictures with other labels in its place leave every bit as it is."""
    flags = held_out("data", np.arange(48), 0.3, 0)
    assert 5 < flags.sum() < 25
    other = [PICTURES[0] if out else one for one, out in zip(PICTURES, flags, strict=True)]
    changed = make_snapshot(tmp_path / "changed", other, [32, 16])
    left = named(probe_config, "left", hold_out=0.3)
    right = named(probe_config, "right", hold_out=0.3, train=changed.url)
    one, two = probes(here(left)), probes(here(right))
    assert_bitwise_equal(weights(left, 12), weights(right, 12))
    assert [c["test"] for c in one.values()] == [c["test"] for c in two.values()]
    assert [c["held_out"] for c in one.values()] != [c["held_out"] for c in two.values()]


def test_a_search_finds_the_window_before_the_blocks_that_spoil_the_features(
    probe_config, tmp_path
):
    model = drawn()
    with torch.no_grad():  # one direction drowns all others from block 6 on
        fc2 = model.trunk.blocks[6].mlp.fc2.weight
        fc2.copy_(1e5 * torch.ones(len(fc2), 1) * fc2[:1])
    fields = {"weights": exported(model, tmp_path / "spoilt"), "layers": "search"}
    fields |= {"grid": {"lr": [1e-2]}, "steps": 30, "checkpoint_every": 30}
    config = ProbeConfig.model_validate(probe_config | fields)
    search = config.searching()
    found = probes(here(json.loads(search.model_dump_json())))
    assert len(found) == 2 * len(windows(8)) == 6
    assert choosing.best_window(found) == (0, 1, 2, 3, 4, 5)
    last = probes(here(json.loads(config.found(choosing.best_window(found)).model_dump_json())))
    assert {tuple(cell["layers"]) for cell in last.values()} == {(0, 1, 2, 3, 4, 5)}


# What is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": [2, 8]}, "layers: 8 is no block of a trunk of 8"),
        ({"layers": "best"}, "layers: best is known for aim-600m"),
        ({"classes": COLOURS[:-1]}, r"classes: sample \d+ \(\d{6}\) is labelled 'yellow'"),
    ],
)
def test_what_the_trunk_or_the_sets_do_not_have_is_refused_by_name(probe_config, changes, words):
    with pytest.raises(HeadraceError, match=words):
        here(probe_config, **changes)


def test_crops_must_fit_the_trunk(probe_config):
    with pytest.raises(HeadraceError, match=r"stream\.image_size 48 must be the trunk's"):
        here(probe_config, stream=probe_config["stream"] | {"image_size": 48})


def test_a_resume_with_other_classes_layers_or_weights_is_refused(probe_config, tmp_path):
    here(probe_config, steps=2)
    other = exported(drawn(seed=1), tmp_path / "other")
    for changes, words in (
        ({"classes": COLOURS[::-1]}, "classes was"),
        ({"layers": [0, 1]}, r"layers was \[\[2, 3, 4, 5, 6, 7\]\], now \[\[0, 1\]\]"),
        ({"weights": other}, "weights.* was"),
    ):
        with pytest.raises(HeadraceError, match=words):
            here(probe_config, steps=2, **changes)
    here(probe_config, steps=2, layers=[2, 3, 4, 5, 6, 7])
