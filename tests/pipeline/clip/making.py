"""Small models of random weights, and the ways in which people keep such models on disk."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.clip.opening import Opened, new_model
from tests.pipeline.making import picture

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2
    },
}  # fmt: skip

PICTURES: list[Image.Image] = [picture(number) for number in range(3)]
CAPTIONS = ["a red square", "", "a very long caption " * 20]


def tiny(seed: int = 0, quick: bool = False) -> Opened:
    return new_model({**TINY, "quick_gelu": quick}, seed, "model")


def embeddings(model: Opened) -> Tensor:
    """Of some pictures and some captions: (6, 16)."""
    with torch.inference_mode():
        pixels = torch.stack([model.preprocess(one) for one in PICTURES])
        image = model.clip.encode_image(pixels, normalize=True)
        text = model.clip.encode_text(model.tokenizer(CAPTIONS), normalize=True)
    return torch.cat([image, text])


def config(folder: Path, model: Opened) -> None:
    fields = {"model_cfg": model.model_cfg, "preprocess_cfg": {"resize_mode": "squash"}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(fields))


def safetensors(path: Path, clip: nn.Module) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, path)
    return path


def training_checkpoint(path: Path, clip: nn.Module) -> Path:
    """As open_clip's own training writes it, from the ranks of a group."""
    weights = {f"module.{name}": value for name, value in clip.state_dict().items()}
    optimiser = torch.optim.AdamW(clip.parameters()).state_dict()
    torch.save({"epoch": 3, "name": "x", "state_dict": weights, "optimizer": optimiser}, path)
    return path


class _OfOpenAi(nn.Module):
    """Entries and modules as in OpenAI's archives, where sizes are buffers beside the weights."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.positional_embedding = clip.positional_embedding
        self.text_projection = clip.text_projection
        self.logit_scale = clip.logit_scale
        for name, size in (("input_resolution", 32), ("context_length", 16), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(size))
        self.visual, self.transformer = clip.visual, clip.transformer
        self.token_embedding, self.ln_final = clip.token_embedding, clip.ln_final

    def forward(self, image: Tensor) -> Tensor:
        return self.visual(image)


def archive_of_openai(path: Path, clip: nn.Module) -> Path:
    """A TorchScript archive of float16 weights. Halves the precision of `clip` itself."""
    return scripted(path, _OfOpenAi(clip.half()))


def scripted(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have torch.export
        torch.jit.script(module).save(str(path))
    return path
