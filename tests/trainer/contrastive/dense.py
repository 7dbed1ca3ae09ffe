"""What open_clip itself learns from a batch: one process, one pass, float64."""

import open_clip
import torch
from torch import Tensor

from pipeline.clip.opening import new_model
from trainer.contrastive.config import FilterConfig
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.stream import Stream


def first_batch(config: FilterConfig) -> Batch:
    with Stream(config.data, config.stream) as stream:
        return next(iter(stream))


def loss_and_gradient(config: FilterConfig, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """Of the model that the config's seed draws; gradients by open_clip's names."""
    clip = new_model(config.model, config.seed, "model").clip.train().double()
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    images = normalise(batch.images, torch.device("cpu"), mean, std).double()
    tokens = open_clip.SimpleTokenizer(context_length=clip.context_length)(batch.captions)
    loss = open_clip.ClipLoss()(*clip(images, tokens)[:3])
    loss.backward()
    return loss.item(), {name: p.grad for name, p in clip.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """To this part of the largest value of each gradient; behind `clip.`, as trained."""
    assert found.keys() == {f"clip.{name}" for name in expected}
    for name, gradient in expected.items():
        ours = found[f"clip.{name}"].double().reshape(gradient.shape)
        scale = gradient.abs().max().item()
        assert torch.allclose(ours, gradient, rtol=0, atol=tolerance * scale), name
