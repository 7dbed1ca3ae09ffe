"""An open_clip model, loaded or new, with what its captions and images go through."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.clip import architectures, openai
from pipeline.clip.names import CONFIG, LOCAL, files
from pipeline.clip.refusal import reason, refusal
from pipeline.clip.tokens import Tokenizer
from pipeline.format.errors import HeadraceError


@dataclass(frozen=True)
class Opened:
    """A model that is ready to embed."""

    clip: nn.Module
    """In eval mode and float32: `encode_image`, `encode_text`, `logit_scale`."""

    tokenizer: Callable[[list[str]], Tensor]
    """n captions to (n, context length) int64."""

    model_cfg: dict[str, Any]
    """The architecture, as open_clip's config files hold it."""

    preprocess_cfg: dict[str, Any]
    """How open_clip makes an image ready: size, mean, std, interpolation, resize_mode."""

    @property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """An image to (3, size, size) float32, as scoring sees it: nothing is drawn."""
        transform: Callable[[Image.Image], Tensor] = image_transform_v2(
            PreprocessCfg(**self.preprocess_cfg), is_train=False
        )
        return transform


def open_model(
    model: str,
    pretrained: str | None = None,
    device: str = "cpu",
    field: str = "measure.clip.model",
) -> Opened:
    """Loads a model by its name; see `names`. Nothing in a checkpoint is run.

    Raises HeadraceError, one line that begins with the field, if it cannot be loaded.
    """
    with _explained(field, model):
        *config, weights = files(model, pretrained, field)
        if config:
            return _of_folder(model, config[0], device, field)
        return _of_architecture(model, pretrained, weights, device, field)


def new_model(model: str | dict[str, Any], seed: int, field: str) -> Opened:
    """A model of random weights, on the CPU: of an architecture, or of a `model_cfg` written out.

    The same seed gives the same bits, and torch's own generator stays as it was. Raises
    HeadraceError, one line that begins with the field, if open_clip cannot make it.
    """
    name = model if isinstance(model, str) else "model_cfg"
    with _explained(field, name), tempfile.TemporaryDirectory() as folder:
        config = architectures.model_cfg(model, field) if isinstance(model, str) else model
        _check(config, field, name)
        _check_tokenizer(config, field, name)
        (Path(folder) / CONFIG).write_text(json.dumps({"model_cfg": config}))
        with _without_warning():
            made = {"load_weights": False, "pretrained_text": False}
            clip = _created(f"{LOCAL}{folder}", seed=seed, **made)
        return _opened(clip, open_clip.get_tokenizer(f"{LOCAL}{folder}"), config)


def _of_folder(model: str, config: Path, device: str, field: str) -> Opened:
    model_cfg = json.loads(config.read_text())["model_cfg"]
    _check(model_cfg, field, model)
    folder = f"{LOCAL}{config.parent}"
    # A folder's own name: asked for the hub's, open_clip asks the network again.
    named = model if model_cfg["text_cfg"].get("hf_tokenizer_name") else folder
    return _opened(_created(folder, device=device), open_clip.get_tokenizer(named), model_cfg)


def _of_architecture(
    model: str, pretrained: str | None, weights: Path, device: str, field: str
) -> Opened:
    name = architectures.listed(model)
    model_cfg = architectures.model_cfg(name, field)
    preprocess_cfg = architectures.preprocess_cfg(name, pretrained)
    with tempfile.TemporaryDirectory() as folder:
        if openai.is_archive(weights):
            state, quick = openai.read(weights)
            architectures.check_activation(name, model_cfg, quick, field)
            weights = Path(folder) / "weights.safetensors"  # which open_clip takes for any model
            save_file({key: value.contiguous() for key, value in state.items()}, weights)
        clip = _created(
            name, pretrained=str(weights), device=device, force_preprocess_cfg=preprocess_cfg
        )
    return _opened(clip, open_clip.get_tokenizer(name), model_cfg)


def _created(name: str, seed: int = 0, **options: Any) -> nn.Module:
    """open_clip's model, whose first weights come from a seed whether or not others follow."""
    with torch.random.fork_rng(devices=[]):  # open_clip draws from torch's own generator
        torch.default_generator.manual_seed(seed)
        # weights_only: a checkpoint is data, and no pickle of a stranger's code.
        clip: nn.Module = open_clip.create_model(name, weights_only=True, **options)
    return clip.eval()


def _opened(clip: Any, tokenizer: Any, model_cfg: dict[str, Any]) -> Opened:
    opened = Opened(clip, Tokenizer(tokenizer), model_cfg, clip.visual.preprocess_cfg)
    opened.preprocess(Image.new("RGB", (8, 8)))  # open_clip takes any config of it until then
    return opened


def _check_tokenizer(model_cfg: dict[str, Any], field: str, name: str) -> None:
    if model_cfg["text_cfg"].get("hf_tokenizer_name"):
        raise refusal(
            field,
            name,
            "it has a tokenizer of the hub, which the saved folder would lack; choose one without "
            "`hf_tokenizer_name`",
        )


def _check(model_cfg: dict[str, Any], field: str, name: str) -> None:
    """Refuses what a stranger's config may ask for: code, chance, and what no digest knows of."""
    tokenizer = model_cfg["text_cfg"].get("tokenizer_kwargs") or {}
    if tokenizer.get("trust_remote_code"):
        raise refusal(field, name, "its tokenizer wants `trust_remote_code`: it could run code")
    if tokenizer.get("reduction_mask"):
        raise refusal(field, name, "its tokenizer draws words by chance (`reduction_mask`)")
    tower = model_cfg["vision_cfg"].get("timm_model_name")
    if ":" in str(tower):  # timm would read another folder, or ask the network
        raise refusal(field, name, f"`timm_model_name` {tower!r} is a place; give a name of timm's")


@contextmanager
def _explained(field: str, model: str) -> Iterator[None]:
    try:
        yield
    except HeadraceError:
        raise
    except Exception as error:  # a stranger's checkpoint makes open_clip raise anything
        raise refusal(field, model, reason(error)) from error


@contextmanager
def _without_warning() -> Iterator[None]:
    """open_clip warns that a new model's weights are random: they are to be."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
