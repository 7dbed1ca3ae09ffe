"""What a fork takes from its parent; whole forks are in test_train.py."""

import pytest
import torch

from pipeline.format.errors import HeadraceError
from trainer import checkpoint, fork
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.optimiser import OptimiserConfig, build_optimiser

CONFIG = ModelConfig(
    image_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, head_width=8, head_depth=1
)


def tiny(seed, optimiser):
    model = AIM(CONFIG)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model, build_optimiser(model, optimiser)


def test_betas_and_decay_are_the_forks_weights_and_moments_the_parents(world, tmp_path):
    model, optimiser = tiny(0, OptimiserConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    checkpoint.save(tmp_path, 1, model, optimiser, {})
    mine = OptimiserConfig(betas=(0.5, 0.6), weight_decay=0.7, lr=0.01)
    other, others = tiny(1, mine)
    fork.load(tmp_path / "00000001", other, others)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    moments = [o.state_dict()["state"] for o in (optimiser, others)]
    assert len(moments[0]) == len(moments[1]) > 10
    for number, state in moments[0].items():
        assert all(torch.equal(moments[1][number][name], value) for name, value in state.items())
    assert [group["weight_decay"] for group in others.param_groups] == [0.7, 0.0]
    assert {group["betas"] for group in others.param_groups} == {(0.5, 0.6)}
    assert {group["lr"] for group in others.param_groups} == {0.01}


@pytest.mark.parametrize("where", ["/parent", "/parent/checkpoints/00000008"])
def test_a_fork_of_a_run_at_the_root_of_a_mount_resumes(tmp_path, where):
    fork.check_same(tmp_path, {"run": "/parent"}, where)
    with pytest.raises(HeadraceError, match=f"not forked from {where}"):
        fork.check_same(tmp_path, {"run": "/other"}, where)
