"""A step: on any number of ranks and parts, the gradient of the whole batch at once."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.trainer.lora.runs import here, on_ranks
from tests.trainer.probing.plain import Plain
from tests.trainer.probing.runs import weights
from tests.trainer.runs import facts, named
from trainer.export.read import read
from trainer.frozen import open_frozen
from trainer.lora import adapters, mixing
from trainer.lora.config import LoraConfig
from trainer.lora.learner import Tuned
from trainer.pixels import normalise
from trainer.stream.stream import Stream

TOLERANCE = 1e-4
"""Of a gradient's largest value: float32 against float64."""

WINDOW = (0, 3, 5)


def expected(config: LoraConfig) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the first batch: one process, plain torch, float64."""
    with Stream(config.data, config.stream) as stream:
        batch = next(iter(stream))
    tuned = Tuned(open_frozen(config.weights, torch.device("cpu")), WINDOW, config).double()
    model, outputs = read(config.weights).model.double(), []
    adapters.attach(model, tuned.adapters)
    for number in WINDOW:
        model.trunk.blocks[number].register_forward_hook(lambda *found: outputs.append(found[2]))
    pixels = normalise(batch.images, torch.device("cpu")).double()
    labels = torch.tensor([config.classes.index(one) for one in batch.captions])
    partner, own = mixing.partners(batch, 4), mixing.shares(batch, 0, config.mixup).double()
    column = own[:, None, None, None]
    model.features(column * pixels + (1 - column) * pixels[partner], torch.full((16,), 16))
    head = Plain(32, 2, len(config.classes)).double()
    head.load_state_dict(tuned.head.state_dict())
    logits = head(torch.stack(outputs).mean(0))
    losses = [
        functional.cross_entropy(logits, y, reduction="none") for y in (labels, labels[partner])
    ]
    loss = (own * losses[0] + (1 - own) * losses[1]).mean()
    loss.backward()
    found = {f"adapters.{name}": p.grad for name, p in tuned.adapters.named_parameters()}
    return loss.item(), found | {f"head.{name}": p.grad for name, p in head.named_parameters()}


def gradients(config: dict) -> dict[str, Tensor]:
    """Of the first step: its first moments, but for the decay of these."""
    moment = "/exp_avg"
    return {
        flat.removesuffix(moment).rpartition("/")[2]: value / 0.1
        for flat, value in weights(config, 1).items()
        if flat.endswith(moment)
    }


def check(fields: dict, ways: dict[str, tuple[int, int]], mixup: float | None) -> None:
    fields = fields | {"steps": 1, "log_every": 1, "layers": WINDOW, "mixup": mixup}
    fields |= {"optimiser": {"clip": None}}
    loss, answers = expected(LoraConfig.model_validate(fields))
    for way, (ranks, parts) in ways.items():
        run = named(fields, way, compute={"micro_batches": parts, "recompute": parts > 1})
        on_ranks(run, ranks) if ranks > 1 else here(run)
        found = gradients(run)
        assert found.keys() == answers.keys()
        for name, gradient in answers.items():
            scale = TOLERANCE * gradient.abs().max().item()
            assert torch.allclose(found[name].double(), gradient, rtol=0, atol=scale), (way, name)
        (line,) = (line for line in facts(Path(run["run"])) if "loss" in line)
        assert line["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("mixup", [None, 0.5])
def test_parts_have_the_gradient_of_the_batch_at_once(lora_config, mixup):
    check(lora_config, {"one": (1, 1), "parts": (1, 4)}, mixup)


@pytest.mark.slow
def test_two_ranks_have_the_gradient_of_the_batch_at_once(lora_config):
    check(lora_config, {"two": (2, 2)}, mixup=0.5)
