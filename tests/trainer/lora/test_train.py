"""Whole trainings of LoRA: they learn, resume, leave the trunk alone and can be exported."""

import math
from pathlib import Path

import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.lora.runs import here
from tests.trainer.probing.conftest import COLOURS
from tests.trainer.probing.runs import Killed, weights
from tests.trainer.runs import assert_bitwise_equal, facts, named
from trainer import checkpoint
from trainer.distributed import World, join
from trainer.frozen import means, open_frozen
from trainer.lora import adapters
from trainer.lora.config import LoraConfig
from trainer.lora.export import export
from trainer.lora.learner import learner

CPU = torch.device("cpu")


def test_it_learns_and_says_how_much_of_the_model_does(lora_config):
    lines = here(lora_config, steps=30, checkpoint_every=30, validate_every=30)
    before, after = (line for line in lines if "probes" in line)
    (first,), (last,) = (line["probes"]["lora"].values() for line in (before, after))
    assert last["n"] == 24
    assert last["top1"] > 16 > first["top1"]
    assert last["loss"] < math.log(8) < first["loss"] + 1
    assert after["trained"] == 48 * 32 * 8
    assert after["of"] == sum(
        p.numel()
        for name, p in open_frozen(lora_config["weights"], CPU).model.named_parameters()
        if not name.startswith("pixel_head")
    )
    assert after["head"] == 2 * 32**2 + 32 + 32 * 8


def test_a_run_that_was_killed_and_resumed_has_the_bits_of_one_that_was_not(lora_config):
    ways = {"mixup": 0.5, "erasing": 0.5}
    whole, cut = (named(lora_config, name, **ways) for name in ("whole", "cut"))
    here(whole)
    with pytest.raises(Killed):
        here(cut, kill_after=6)
    here(cut)
    assert_bitwise_equal(weights(whole, 8), weights(cut, 8))
    assert facts(Path(whole["run"])) == facts(Path(cut["run"]))


def test_an_export_computes_what_the_adapted_trunk_did(lora_config, tmp_path):
    here(lora_config)
    export(lora_config["run"], lora_config["weights"], str(tmp_path / "merged"))
    with join():
        trained = learner(LoraConfig.model_validate(lora_config), World(0, 1, CPU), ["data"])
    checkpoint.load_weights(checkpoint.newest(f"{lora_config['run']}/checkpoints"), trained.model)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    told = images, [trained.window], "bidirectional"
    with torch.no_grad():
        (wanted,) = means(trained.frozen.model, *told)
        (plain,) = means(open_frozen(lora_config["weights"], CPU).model, *told)
        (found,) = means(open_frozen(str(tmp_path / "merged"), CPU).model, *told)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, plain, rtol=1e-2, atol=1e-2)


def test_blocks_that_nothing_reads_are_neither_adapted_nor_run(lora_config):
    lines = here(lora_config, steps=2, layers=[0, 2])
    assert next(line for line in lines if "probes" in line)["trained"] == 48 * 32 * 3


# What is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": [2, 8]}, "layers: 8 is no block of a trunk of 8"),
        ({"classes": COLOURS[:-1]}, r"classes: sample \d+ \(\d{6}\) is labelled 'yellow'"),
    ],
)
def test_what_the_trunk_or_the_sets_do_not_have_is_refused_by_name(lora_config, changes, words):
    with pytest.raises(HeadraceError, match=words):
        here(lora_config, **changes)


def test_mixing_needs_a_neighbour(lora_config):
    stream = lora_config["stream"] | {"lanes": 16}
    with pytest.raises(ValueError, match="mixup: every lane has one image a step"):
        LoraConfig.model_validate(lora_config | {"mixup": 0.2, "stream": stream})


def test_a_block_is_averaged_once(lora_config):
    with pytest.raises(ValueError, match="not in ascending order; name each block once"):
        LoraConfig.model_validate(lora_config | {"layers": [1, 1]})


def test_a_resume_with_another_rank_or_trunk_is_refused(lora_config):
    here(lora_config, steps=2)
    for changes, words in (({"rank": 4}, "rank was 8, now 4"), ({"layers": [0]}, "layers was")):
        with pytest.raises(HeadraceError, match=words):
            here(lora_config, steps=2, **changes)


def test_an_export_wants_the_weights_that_the_run_began_with(lora_config, tmp_path):
    here(lora_config, steps=2)
    frozen = open_frozen(lora_config["weights"], CPU)
    assert adapters.count(frozen.model.config, 8, ("q",)) == 16 * 32 * 8
    export(lora_config["run"], lora_config["weights"], str(tmp_path / "merged"))
    with pytest.raises(HeadraceError, match="not the weights that"):
        export(lora_config["run"], str(tmp_path / "merged"), str(tmp_path / "again"))
