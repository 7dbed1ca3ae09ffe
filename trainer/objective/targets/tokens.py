"""Tokens as targets: what a frozen tokenizer calls a patch.

The tokenizer is a TorchScript module: it runs without its author's code, and reading one runs no
Python, where `torch.export.load` unpickles what the file holds and promises no later torch.
"""

import hashlib
import io
import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from trainer.model.layers import at_least_float32
from trainer.model.sizes import ModelConfig
from trainer.objective.config import TargetConfig
from trainer.pixels import unit

FIELD = "objective.target.tokenizer"


class Tokens:
    """The id that a frozen module gives a patch; cross-entropy."""

    def __init__(self, module: torch.jit.ScriptModule, vocabulary: int, size: int, digest: str):
        """`module`: images (B, 3, size, size) in [0, 1] → ids (B, K) below `vocabulary`."""
        self.module, self.outputs, self.size, self.digest = module, vocabulary, size, digest
        self.device = torch.device("cpu")

    def wanted_values(self, images: Tensor, wanted: Tensor) -> Tensor:
        """(M,) int64."""
        return self.ids(images).flatten()[wanted]

    def losses(self, predictions: Tensor, values: Tensor) -> Tensor:
        """(M, V) and (M,) → (M,). Raises HeadraceError for an id that is not in the vocabulary."""
        try:
            return F.cross_entropy(at_least_float32(predictions), values, reduction="none")
        except IndexError as error:
            raise HeadraceError(
                f"{FIELD}: gives an id beyond objective.target.vocabulary {self.outputs}; raise it"
            ) from error

    def paint(self, predictions: Tensor, images: Tensor, wanted: Tensor) -> Tensor:
        """Raises ValueError: an id has no pixels."""
        raise ValueError("tokens have no pixels")

    @torch.no_grad()
    def ids(self, images: Tensor) -> Tensor:
        """(B, K) int64 of normalised images, computed as it was traced: in no half precision.

        What TorchScript optimises after the first calls might change an id, so that a resumed run
        would see another.
        """
        if self.device != images.device:
            self.module, self.device = self.module.to(images.device), images.device
        pixels = unit(images).float()
        if pixels.shape[-1] != self.size:
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True)
        with (
            torch.autocast(images.device.type, enabled=False),
            torch.jit.optimized_execution(False),  # type: ignore[attr-defined]
        ):
            ids: Tensor = self.module(pixels.clamp(0, 1))
        return ids.long()


def read_tokenizer(config: TargetConfig, shape: ModelConfig) -> Tokens:
    """The target that `config` names. Raises HeadraceError if it does not fit the patches."""
    url, size, vocabulary = (
        config.tokenizer or "",
        config.tokenizer_size or 0,
        config.vocabulary or 0,
    )
    data = store.read_bytes(url)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # see above for why it is used
            module = torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
    except RuntimeError as error:
        raise HeadraceError(
            f"{FIELD}: {url}: not a TorchScript module; write one with torch.jit.trace and save"
        ) from error
    tokens = Tokens(module, vocabulary, size, hashlib.sha256(data).hexdigest())
    _try(tokens, url, shape)
    return tokens


def _try(tokens: Tokens, url: str, shape: ModelConfig) -> None:
    """Shows it a black and a white image."""
    black = torch.full((1, 3, shape.image_size, shape.image_size), -10.0)
    try:
        ids = tokens.ids(torch.cat([black, -black]))
    except (RuntimeError, AttributeError) as error:  # the latter for what is no tensor
        reason = str(error).strip().rpartition("\n")[2]
        raise HeadraceError(
            f"{FIELD}: {url}: fails on images (2, 3, {tokens.size}, {tokens.size}): {reason}; "
            "trace it for any number of images of objective.target.tokenizer_size"
        ) from error
    if ids.shape != (2, shape.num_patches):
        raise HeadraceError(
            f"{FIELD}: {url}: gives {tuple(ids.shape)} ids for 2 images of {shape.num_patches} "
            f"patches; mend objective.target.tokenizer_size {tokens.size}, or the module"
        )
    if ids.min() < 0 or ids.max() >= tokens.outputs:
        raise HeadraceError(
            f"{FIELD}: {url}: gives ids up to {ids.max()}; mend objective.target.vocabulary "
            f"{tokens.outputs}"
        )
