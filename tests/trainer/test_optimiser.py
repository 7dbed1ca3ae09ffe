import pytest
import torch
from pydantic import ValidationError

from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.optimiser import OptimiserConfig, build_optimiser, learning_rate, parameter_groups

CONFIG = OptimiserConfig()
TOTAL = 1_250_000  # the paper's long schedule; 31,250 steps of warm-up


def tiny_model():
    model = AIM(
        ModelConfig(
            image_size=8,
            patch_size=4,
            embed_dim=8,
            depth=1,
            num_heads=1,
            head_width=8,
            head_depth=1,
        )
    )
    model.init_weights(torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-6),
        (15_625, (1e-6 + 1e-3) / 2),  # half way up
        (31_250, 1e-3),  # the peak
        (640_625, 5e-4),  # half way down
        (TOTAL, 0.0),
    ],
)
def test_the_rate_goes_from_1e_6_to_the_peak_and_to_zero(step, rate):
    assert learning_rate(step, TOTAL, CONFIG) == pytest.approx(rate, rel=1e-9, abs=1e-18)


def test_the_rate_rises_to_the_peak_and_then_only_falls():
    rates = [learning_rate(step, 400, CONFIG) for step in range(401)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == rates[10] == CONFIG.lr


def test_a_schedule_that_ends_at_zero_is_told_as_it_was_before_it_could_end_elsewhere():
    assert "final_lr" not in OptimiserConfig().model_dump()
    assert OptimiserConfig(final_lr=1e-5).model_dump()["final_lr"] == 1e-5


def test_a_group_has_a_peak_of_its_own_and_the_decay_may_end_above_zero():
    config = OptimiserConfig(final_lr=1e-5, warmup_fraction=0)
    assert [learning_rate(step, 2, config, peak=2e-3) for step in range(3)] == pytest.approx(
        [2e-3, (2e-3 + 1e-5) / 2, 1e-5]
    )


def test_a_run_shorter_than_its_warm_up_still_has_a_rate_for_every_step():
    assert [learning_rate(step, 2, CONFIG) > 0 for step in range(3)] == [True, True, False]
    assert learning_rate(0, 2, OptimiserConfig(warmup_fraction=0)) == CONFIG.lr


@pytest.mark.parametrize(("step", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_a_step_outside_the_run_is_refused(step, total):
    with pytest.raises(ValueError, match=f"no step {step} in a run of {total}"):
        learning_rate(step, total, CONFIG)


def test_only_weight_matrices_decay():
    model = tiny_model()
    names = {parameter: name for name, parameter in model.named_parameters()}
    decay, keep = parameter_groups(model, CONFIG)
    assert (decay["weight_decay"], keep["weight_decay"]) == (0.05, 0.0)
    assert {names[p] for p in decay["params"]} == {
        "preprocessor.patchifier.proj.weight",
        "trunk.blocks.0.attn.qkv.weight",
        "trunk.blocks.0.attn.proj.weight",
        "trunk.blocks.0.mlp.fc1.weight",
        "trunk.blocks.0.mlp.fc2.weight",
        "pixel_head.decoder_projection.weight",
        "pixel_head.decoder_blocks.0.mlp.fc1.weight",
        "pixel_head.decoder_blocks.0.mlp.fc2.weight",
        "pixel_head.decoder_pred.weight",
    }
    assert len(decay["params"]) + len(keep["params"]) == len(names)


def test_a_learned_position_code_or_gamma_would_not_decay():
    model = torch.nn.Module()
    model.pos_embed = torch.nn.Parameter(torch.zeros(2, 2))
    model.gamma_1 = torch.nn.Parameter(torch.zeros(2))
    decay, keep = parameter_groups(model, CONFIG)
    assert not decay["params"]
    assert len(keep["params"]) == 2


def test_the_defaults_are_the_papers():
    group = build_optimiser(parameter_groups(tiny_model(), CONFIG), CONFIG).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.95), 1e-8)
    assert (CONFIG.warmup_fraction, CONFIG.clip) == (0.025, 1.0)


def test_a_step_is_the_textbook_update():
    model, g = tiny_model(), 0.5
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = build_optimiser(parameter_groups(model, CONFIG), CONFIG)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, g)
    optimiser.step()
    for name, parameter in model.named_parameters():
        shrink = 1 - 1e-3 * (0.05 if parameter.ndim > 1 else 0)
        expected = shrink * before[name] - 1e-3 * g / (g + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected)


def test_the_step_gives_the_same_bits_however_parameters_are_cut():
    draw = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(1009, generator=draw), torch.randn(5, 1009, generator=draw)

    def trained(*sizes):
        model = torch.nn.ParameterList(part.clone() for part in start.split(sizes))
        optimiser = build_optimiser(parameter_groups(model, CONFIG), CONFIG)
        for gradient in gradients:
            for parameter, part in zip(model, gradient.split(sizes), strict=True):
                parameter.grad = part.clone()
            optimiser.step()
        return torch.cat([parameter.detach() for parameter in model])

    assert torch.equal(trained(1009), trained(3, 500, 506))


@pytest.mark.parametrize(
    ("field", "value"), [("lr", 0), ("warmup_fraction", 1.0), ("clip", -1), ("momentum", 0.9)]
)
def test_a_bad_config_gives_an_error_that_names_the_field(field, value):
    with pytest.raises(ValidationError) as error:
        OptimiserConfig(**{field: value})
    assert [problem["loc"] for problem in error.value.errors()] == [(field,)]
