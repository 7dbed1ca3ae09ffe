"""A model of a few numbers whose every value follows from a seed, and its checkpoints."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from trainer import checkpoint

STATE = {"config": {"seed": 0}, "stream": {"step": 2}, "digest": "00ff"}

Parts = tuple[nn.Module, torch.optim.Optimizer]


def bare(seed: int = 0, width: int = 8, depth: int = 2) -> nn.Sequential:
    """Layers with norms between, each one wider than the one before."""
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [nn.Linear(width, width + number), nn.LayerNorm(width + number)]
        width += number
    model = nn.Sequential(*layers)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return model


def optimiser_of(model: nn.Module) -> torch.optim.Optimizer:
    """With a group that decays and one that does not, as ours."""
    parameters = list(model.parameters())
    wide = [one for one in parameters if one.ndim > 1]
    rest = [one for one in parameters if one.ndim <= 1]
    return torch.optim.AdamW([{"params": wide}, {"params": rest, "weight_decay": 0.0}], lr=0.01)


def tiny(seed: int = 0, **sizes: int) -> Parts:
    model = bare(seed, **sizes)
    return model, optimiser_of(model)


def update(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """A step of training; on shards it is the same step."""
    width = next(model.parameters()).shape[1]
    images = torch.randn(4, width, generator=torch.Generator().manual_seed(step))
    model(images).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()


def trained(steps: int, seed: int = 0, shard: Callable = lambda model: model, **sizes) -> Parts:
    model = shard(bare(seed, **sizes))
    optimiser = optimiser_of(model)
    for step in range(steps):
        update(model, optimiser, step)
    return model, optimiser


def whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def values(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict:
    """Every number that a later step depends on."""
    moments = optimiser.state_dict()
    return {
        **{f"model.{name}": whole(value).clone() for name, value in model.state_dict().items()},
        **{
            f"{number}.{name}": whole(value).clone()
            for number, state in moments["state"].items()
            for name, value in state.items()
        },
        **{f"lr.{number}": group["lr"] for number, group in enumerate(moments["param_groups"])},
    }


def assert_bitwise(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert len(expected) > 20
    for name, value in expected.items():
        same = torch.equal(found[name], value) if torch.is_tensor(value) else found[name] == value
        assert same, name


def folders(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir())


def fake(path: Path, step: int, complete: bool = True) -> None:
    """The folder of a checkpoint, which a kill may have cut short."""
    folder = path / f"{step:08d}"
    folder.mkdir(parents=True)
    (folder / "__0_0.distcp").write_bytes(b"weights")
    if complete:
        (folder / checkpoint.MARKER).write_text("{}")
