"""The filter network: a CLIP model of open_clip, trained on trusted pairs (DFN, section 4).

Model, tokenizer and loss are open_clip's; the pairs come through the same stream as AIM's images.
Besides this module nothing in `trainer` imports open_clip.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from pydantic import BaseModel, Field
from safetensors.torch import save
from torch import Tensor

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from trainer.config import MixtureUrl
from trainer.delivered import Delivered, judge
from trainer.optimiser import OptimiserConfig, learning_rate
from trainer.pixels import normalise
from trainer.stream.config import StreamConfig
from trainer.stream.jitter import jittered
from trainer.stream.stream import Stream

MAX_LOGIT_SCALE = 4.6052
"""ln 100, where CLIP's authors clip the temperature (arXiv 2103.00020, section 2.5)."""

PREPROCESS = {"interpolation": "bicubic", "resize_mode": "squash"}
"""Scoring sees whole images, as training nearly does; open_clip's default would crop them."""


class FilterConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """A filter to train. Relative paths start at the current folder."""

    run: str = Field(min_length=1)
    """Folder that receives the model, as `local-dir:<folder>` of open_clip reads it."""

    mixture: MixtureUrl
    """URL of a mixture of trusted pairs."""

    model: dict[str, Any]
    """open_clip's `model_cfg`: embed_dim, vision_cfg, text_cfg."""

    stream: StreamConfig
    """Batch size, lanes, crops and their seed."""

    optimiser: OptimiserConfig = OptimiserConfig(
        betas=(0.9, 0.98), weight_decay=0.2, warmup_fraction=0.1
    )
    """AdamW and its schedule; betas and decay are DataComp's (AIM.md section 5.6)."""

    steps: int = Field(gt=0)
    """Updates in the whole run."""

    seed: int = 0
    """Of the weights; the stream has its own."""

    threads: int | None = Field(default=None, gt=0)
    """CPU threads; torch's own choice without it."""


def train_filter(
    config: FilterConfig, progress: Callable[[int, float], None] = lambda step, loss: None
) -> None:
    """Trains from scratch in this process and saves the model; `progress` gets step and loss.

    Raises HeadraceError if the model's fields are not open_clip's, if too many samples are
    damaged, or if the loss is not finite.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    model = _build(config)
    tokenizer = open_clip.SimpleTokenizer(context_length=model.context_length)
    optimiser = torch.optim.AdamW(
        _groups(model, config.optimiser.weight_decay),
        betas=config.optimiser.betas,
        eps=config.optimiser.eps,
    )
    loss_of, delivered = open_clip.ClipLoss(), Delivered()
    with Stream(config.mixture, config.stream) as stream:
        for step, batch in zip(range(config.steps), stream, strict=False):
            delivered.drawn.update(stream.names[source] for source in batch.sources.tolist())
            delivered.bad.update((bad.source, bad.kind) for bad in batch.bad)
            judge(delivered, config.stream.max_bad, "the log")
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config.steps, config.optimiser)
            images = jittered(batch, stream.names, config.stream.seed, config.stream.augment.jitter)
            loss = loss_of(*model(_pixels(images), tokenizer(batch.captions)))
            if not torch.isfinite(loss):
                raise HeadraceError(f"{config.run}: the loss is {loss} at step {step}; lower lr")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            model.logit_scale.data.clamp_(0, MAX_LOGIT_SCALE)
            progress(step + 1, loss.item())
    _save(config, model)


def _build(config: FilterConfig) -> open_clip.CLIP:
    torch.manual_seed(config.seed)  # open_clip draws its weights from the global generator
    try:
        return open_clip.CLIP(**config.model).train()
    except TypeError as error:
        raise HeadraceError(f"model: not a model_cfg of open_clip: {error}") from error


def _groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices decay; gains, biases and the temperature do not, as in open_clip's own training."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _pixels(images: Tensor) -> Tensor:
    return normalise(
        images,
        torch.device("cpu"),
        open_clip.OPENAI_DATASET_MEAN,
        open_clip.OPENAI_DATASET_STD,
    )


def _save(config: FilterConfig, model: torch.nn.Module) -> None:
    """Weights first, config last: open_clip finds a model where the config lies."""
    folder = Path(config.run)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    writing.publish(str(folder / "open_clip_model.safetensors"), save(weights))
    fields = {"model_cfg": config.model, "preprocess_cfg": PREPROCESS}
    text = json.dumps(fields, indent=1, sort_keys=True) + "\n"
    writing.publish(str(folder / "open_clip_config.json"), text.encode())
