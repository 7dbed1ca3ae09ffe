"""What a filter's config refuses before anything is opened, and what it stands for."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tests.trainer.contrastive.models import VIT
from trainer.contrastive.config import FilterConfig


def test_crops_must_fit_a_model_that_is_written_out(filter_config):
    for vision in ({"image_size": 48}, {"image_size": [32, 64]}, {}):
        model = VIT | {"vision_cfg": vision}
        with pytest.raises(ValidationError, match=r"stream.image_size 32 must be the model's"):
            FilterConfig.model_validate(filter_config | {"model": model})
    square = VIT | {"vision_cfg": VIT["vision_cfg"] | {"image_size": [32, 32]}}
    FilterConfig.model_validate(filter_config | {"model": square})


@pytest.mark.parametrize("model", [VIT, "local-dir:/filters/one", "hf-hub:apple/DFN-public"])
def test_only_an_architecture_takes_weights_from_somewhere_else(filter_config, model):
    fields = filter_config | {"model": model, "pretrained": "openai"}
    with pytest.raises(ValidationError, match="pretrained: only for an architecture's name"):
        FilterConfig.model_validate(fields)
    FilterConfig.model_validate(fields | {"model": "ViT-B-32"})


def test_a_change_of_the_rate_alone_keeps_the_other_defaults_of_a_filter(filter_config):
    optimiser = FilterConfig.model_validate(filter_config).optimiser
    assert (optimiser.betas, optimiser.weight_decay, optimiser.clip) == ((0.9, 0.98), 0.2, None)
    assert optimiser.lr == 1e-3


def test_paths_are_no_part_of_what_the_weights_depend_on(filter_config):
    one = FilterConfig.model_validate(filter_config)
    other = one.model_copy(update={"pairs": "/elsewhere.json", "model": "local-dir:/elsewhere"})
    assert one.identity == other.identity
    assert one.identity != one.model_copy(update={"templates": ("web",)}).identity
    assert one.identity != one.model_copy(update={"seed": 1}).identity


def test_weights_are_drawn_only_where_nobody_brings_any(filter_config):
    config = FilterConfig.model_validate(filter_config)
    anew = [{"model": VIT}, {"model": "ViT-B-32"}]
    given = [
        {"model": "ViT-B-32", "pretrained": "x.pt"},
        {"model": "local-dir:x"},
        {"model": "hf-hub:x/y"},
    ]
    assert all(config.model_copy(update=fields).begins_anew for fields in anew)
    assert not any(config.model_copy(update=fields).begins_anew for fields in given)


def test_a_config_is_checked_without_loading_open_clip():
    code = "import sys, trainer.contrastive.config; sys.exit('open_clip' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
