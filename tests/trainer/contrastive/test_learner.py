"""A step on one rank: the gradient that open_clip has, however the batch is cut."""

from dataclasses import replace

import open_clip
import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.contrastive import dense
from tests.trainer.contrastive.models import RESNET, SIGLIP, TIMM, VIT, dropping, pairs
from trainer.contrastive import towers
from trainer.contrastive.config import FilterConfig
from trainer.contrastive.learner import FilterLearner, learner
from trainer.distributed import World
from trainer.stream.batch import Batch

SOURCES = ["web", "trusted"]
CPU = torch.device("cpu")
ONE = World(0, 1, CPU)
TOLERANCE = 1e-5
"""Of a gradient's largest value: float32 against float64."""


def made(fields: dict, world: World = ONE, **changes) -> FilterLearner:
    return learner(FilterConfig.model_validate(fields | changes), world, SOURCES)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def step(fields: dict, **changes) -> tuple[float, dict[str, torch.Tensor]]:
    one = made(fields, **changes)
    loss, flaws = one.backward(dense.first_batch(one.config))
    assert flaws.tolist() == [0] * one.config.stream.batch
    return loss.item(), gradients(one.model)


@pytest.mark.parametrize("model", [VIT, TIMM | {"custom_text": True}, SIGLIP])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_step_is_of_open_clips_own_loss_in_any_number_of_parts(filter_config, model, parts):
    config = FilterConfig.model_validate(filter_config | {"model": model})
    expected, gradient = dense.loss_and_gradient(config, dense.first_batch(config))
    loss, found = step(filter_config, model=model, compute={"micro_batches": parts})
    assert loss == pytest.approx(expected, rel=1e-5)
    dense.assert_alike(found, gradient, TOLERANCE)


def test_captions_are_read_by_open_clips_tokenizer(filter_config):
    one = made(filter_config)
    batch = dense.first_batch(one.config)
    expected = open_clip.SimpleTokenizer(context_length=16)(batch.captions)
    assert torch.equal(one._inputs(batch.images, batch.captions)[1], expected)


def test_captions_of_chosen_sources_are_sentences(filter_config):
    plain, made_up = step(filter_config), step(filter_config, templates=["trusted"])
    assert plain[0] != made_up[0]
    with pytest.raises(HeadraceError, match="templates: no source is called imagenet"):
        made(filter_config, templates=["imagenet"])


def test_bfloat16_has_nearly_the_same_gradient(filter_config):
    whole, half = (
        step(filter_config, compute={"precision": precision})
        for precision in ("float32", "bfloat16")
    )
    assert whole[0] != half[0]
    assert whole[0] == pytest.approx(half[0], rel=0.01)
    left, right = (
        torch.cat([g.flatten() for g in gradient.values()]) for _, gradient in (whole, half)
    )
    assert torch.cosine_similarity(left, right, dim=0) > 0.99
    assert left.dtype == right.dtype == torch.float32


@pytest.mark.parametrize("parts", [1, 2])
def test_dropout_is_drawn_by_the_step_and_alike_whatever_was_drawn_before(filter_config, parts):
    one = made(filter_config, model=dropping(VIT), compute={"micro_batches": parts})
    batch = dense.first_batch(one.config)

    def drawn(batch: Batch) -> dict[str, torch.Tensor]:
        torch.rand(7)
        one.model.zero_grad()
        one.backward(batch)
        return {name: gradient.clone() for name, gradient in gradients(one.model).items()}

    first, again, later = drawn(batch), drawn(batch), drawn(replace(batch, step=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], later[name]) for name in first)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_pair_that_is_not_finite_is_named_and_no_gradient_is_finite(
    filter_config, parts, monkeypatch
):
    one = made(filter_config, compute={"micro_batches": parts})
    batch = dense.first_batch(one.config)
    images, tokens = one._inputs(batch.images, batch.captions)
    images = images.float()
    images[6] = float("nan")
    monkeypatch.setattr(one, "_inputs", lambda *read: (images, tokens))
    loss, flaws = one.backward(batch)
    assert not loss.isfinite()
    assert flaws.tolist() == [float(n == 6) for n in range(16)]
    assert not any(gradient.isfinite().all() for gradient in gradients(one.model).values())


def test_the_temperature_is_bounded_after_an_update(filter_config):
    one = made(filter_config)
    one.model.clip.logit_scale.data.fill_(7.0)
    one.updated()
    assert one.model.clip.logit_scale.item() == pytest.approx(towers.MAX_LOGIT_SCALE)


def test_matrices_decay_and_nothing_else_does(filter_config):
    one = made(filter_config)
    _, keep = one.groups()
    assert keep["weight_decay"] == 0
    undecayed = {id(parameter) for parameter in keep["params"]}
    kept = {name for name, p in one.model.named_parameters() if id(p) in undecayed}
    assert "clip.logit_scale" in kept
    assert "clip.visual.class_embedding" in kept
    assert "clip.ln_final.weight" in kept
    assert not any(
        name.endswith(("conv1.weight", "in_proj_weight", "positional_embedding")) for name in kept
    )


def test_the_identity_says_what_the_config_only_points_at(filter_config):
    identity = made(filter_config).identity
    assert identity == {
        "compute": {"precision": "float32"},
        "model": VIT,
        "pixels": {
            "mean": list(open_clip.OPENAI_DATASET_MEAN),
            "std": list(open_clip.OPENAI_DATASET_STD),
        },
        "pretrained_sha256": None,
    }


def test_flops_are_three_times_those_of_the_forward_pass(filter_config):
    one = made(filter_config)
    assert one.flops == 3 * towers.forward_flops(one.model, *pairs(1)) > 1e6


# What is refused


def test_ranks_must_share_the_lanes_evenly(filter_config):
    with pytest.raises(HeadraceError, match=r"stream.lanes 4 must be a multiple of 3 ranks"):
        made(filter_config, World(0, 3, CPU))


def test_crops_must_fit_a_model_that_is_named(filter_config):
    with pytest.raises(HeadraceError, match=r"stream.image_size 32 must be the model's image_size"):
        made(filter_config, model="RN50")


@pytest.mark.parametrize(
    ("world", "compute"), [(World(0, 2, CPU), {}), (ONE, {"micro_batches": 2})]
)
def test_a_model_with_batch_norms_is_trained_whole_or_not_at_all(filter_config, world, compute):
    step(filter_config, model=RESNET)
    with pytest.raises(HeadraceError, match="model: normalises over the images of a batch"):
        made(filter_config, world, model=RESNET, compute=compute)


def test_a_field_that_open_clip_does_not_know_is_refused_by_name(filter_config):
    with pytest.raises(HeadraceError, match=r"^model .*embed_dims"):
        made(filter_config, model=VIT | {"embed_dims": 16})
