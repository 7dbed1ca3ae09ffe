"""One round: of two ranks that save one checkpoint after another, one is killed at any moment."""

import itertools
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.chaos.rounds import Round
from tests.trainer.ranks import ranks
from trainer import checkpoint, distributed
from trainer.checkpoint import finding

KIND, RANKS, KEEP = "save", 2, 2
LIMIT = 120
"""Seconds in which both ranks must have begun, and in which the one left must end."""

GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What gloo says of a peer that was killed, by what it was doing."""

SPAN = 1.0
"""Seconds after the first checkpoint in which the kill comes: some twenty saves."""

SCRIPT = "import sys; from tests.chaos.trainer import rank; rank(*sys.argv[1:])"

Parts = tuple[nn.Module, torch.optim.Optimizer]


def model_of(seed: int) -> Parts:
    """A model of 3 MB with its moments, split over the ranks there are."""
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4)))
    if torch.distributed.get_world_size() > 1:
        mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
        for layer in model:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimiser = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad()
    fill((model, optimiser), seed)
    return model, optimiser


def tensors(parts: Parts) -> Iterator[torch.Tensor]:
    """Weights and moments, whose order is always the same."""
    model, optimiser = parts
    for parameter in model.parameters():
        yield parameter.detach()
        yield optimiser.state[parameter]["exp_avg"]
        yield optimiser.state[parameter]["exp_avg_sq"]


def fill(parts: Parts, step: int) -> None:
    """Makes every number follow from the step and from whose it is."""
    for number, tensor in enumerate(tensors(parts)):
        tensor.fill_(step + number / 64)


def holds(parts: Parts, step: int) -> bool:
    """Whether every number is that of the step."""
    return all(
        bool((tensor == step + number / 64).all()) for number, tensor in enumerate(tensors(parts))
    )


def rank(where: str, told: str) -> None:
    """Saves for ever, and writes down each step as soon as it is said to be saved."""
    with distributed.join() as world, closing(checkpoint.Saver(where, KEEP)) as saver:
        parts = model_of(0)
        for step in itertools.count(1):
            fill(parts, step)
            saver.save(step, *parts, {})
            if world.leads and step > 1:
                with Path(told).open("a") as file:  # a save waits for the one before
                    file.write(f"{step - 1}\n")


def play(seed: int, folder: Path) -> Round:
    """Kills one of two ranks; the other must end, and the newest checkpoint load on one rank."""
    draw = random.Random(f"{KIND} {seed}")
    victim, moment = draw.randrange(RANKS), draw.uniform(0, SPAN)
    where, told = folder / "checkpoints", folder / "told"
    folder.mkdir(parents=True)
    with ranks(RANKS, SCRIPT, where, told) as started:
        _wait_for(told, started)
        time.sleep(moment)
        started[victim].kill()
        _, said = started[1 - victim].communicate(timeout=LIMIT)
    assert any(words in said for words in GONE), said
    durable = int(told.read_text().split()[-1])
    reached = finding.steps(str(where))
    complete = [s for s in reached if finding.is_complete(finding.at(str(where), s))]
    killed = f"rank {victim}, at step {reached[-1]}"
    kept = bool(complete) and complete[-1] >= durable
    same = _goes_on(str(where))
    return Round(KIND, seed, round(moment, 2), killed, len(complete), True, same, kept)


def _wait_for(told: Path, started: list[subprocess.Popen]) -> None:
    end = time.monotonic() + LIMIT
    while not told.exists():
        died = [process for process in started if process.poll() is not None]
        assert not died, died[0].communicate()
        assert time.monotonic() < end, "the ranks do not begin"
        time.sleep(0.01)


def _goes_on(where: str) -> bool:
    """Loads the newest on one rank, which saves on; whether all is as nothing had happened."""
    with distributed.join(), closing(checkpoint.Saver(where, KEEP)) as saver:
        parts, newest = model_of(-1), checkpoint.newest(where)
        assert newest, f"{where}: no complete checkpoint"
        checkpoint.load(newest, *parts)
        first = checkpoint.read_state(newest)["step"]
        same = holds(parts, first)
        for step in range(first + 1, first + 4):
            fill(parts, step)
            saver.save(step, *parts, {})
        saver.wait()
        checkpoint.load(finding.at(where, first + 3), *model_of(-1))
        left = [first + 2, first + 3]
        return same and finding.steps(where) == left
