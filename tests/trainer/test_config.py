"""What a training config refuses, and what a resume may change."""

import pytest
from pydantic import ValidationError

from trainer.config import TrainConfig

FIELDS = {
    "run": "runs/a",
    "mixture": "mix.json",
    "model": "aim-demo",
    "stream": {"batch": 32, "lanes": 8, "image_size": 64},
    "steps": 10,
}


def config(**changes) -> TrainConfig:
    return TrainConfig.model_validate(FIELDS | changes)


def test_the_defaults_are_the_papers():
    default = config()
    assert default.objective.kind == "ar"
    assert default.objective.order == "raster"
    assert default.objective.attention == "prefix"
    assert default.objective.target.kind == "pixels_norm"
    assert default.optimiser.lr == 1e-3


def test_checkpoints_lie_in_the_run_if_no_other_place_is_named():
    assert config().where == "runs/a/checkpoints"
    assert config(checkpoints="s3://bucket/a").where == "s3://bucket/a"


def test_a_place_of_checkpoints_means_the_same_from_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config(checkpoints="kept").where == f"{tmp_path}/kept"
    assert config(checkpoints="/kept/a b").where == "/kept/a b"


def test_a_run_in_a_store_is_refused_with_what_may_lie_there():
    with pytest.raises(ValidationError, match="'s3://bucket/run' is a URL; name a folder on a"):
        config(run="s3://bucket/run")


def test_a_url_with_credentials_is_refused():
    with pytest.raises(ValidationError, match="the URL carries credentials"):
        config(checkpoints="s3://key:secret@bucket/a")


def test_micro_batches_share_the_images_of_a_lane():
    assert config(compute={"micro_batches": 2}).compute.micro_batches == 2
    with pytest.raises(ValidationError, match="micro_batches 3 do not share the 4 images"):
        config(compute={"micro_batches": 3})


def test_a_pair_of_prefixes_lies_in_one_micro_batch():
    with pytest.raises(ValidationError, match="a pair does not fit into the 1 images"):
        config(compute={"micro_batches": 4})
    assert config(compute={"micro_batches": 4}, objective={"prefixes": "independent"})
    assert config(compute={"micro_batches": 4}, objective={"attention": "causal"})


def test_a_resume_may_change_how_it_computes_but_not_what():
    free = {
        "compute": {"micro_batches": 2, "recompute": True, "compile": True, "shard_over": 2},
        "checkpoints": "elsewhere",
        "log_every": 3,
        "stop_within": 5,
        "hang_after": 60,
        "tensorboard": False,
    }
    assert config(**free).identity == config().identity
    for field, value in {
        "compute": {"precision": "bfloat16"},
        "objective": {"order": "spiral", "attention": "causal"},
        "seed": 1,
        "steps": 11,
        "optimiser": {"lr": 2e-3},
    }.items():
        assert config(**{field: value}).identity != config().identity, field
