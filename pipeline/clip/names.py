"""What a model's name stands for: files of this machine, and one digest of what is in them.

A name is open_clip's: an architecture (`ViT-B-32`) with `pretrained` weights, `hf-hub:org/name`, or
`local-dir:folder`. torch and open_clip are loaded only when asked about one.
"""

import hashlib
import json
from pathlib import Path

from pipeline.clip import architectures
from pipeline.clip.hub import fetched
from pipeline.clip.refusal import refusal

LOCAL = "local-dir:"
HUB = "hf-hub:"
CONFIG = "open_clip_config.json"

ENDINGS = (".safetensors", ".bin", ".pth")
KNOWN = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""Files of weights in the order in which open_clip 3.3 takes them; after these, any other."""


def files(model: str, pretrained: str | None, field: str) -> list[Path]:
    """Config and weights of a folder or of the hub; the weights alone of an architecture.

    The weights are last. What the hub or a tag names is fetched to this machine's cache, unless it
    is there. Raises HeadraceError, which begins with the field, if a file is missing, the hub is
    out of reach, or the name names no weights.
    """
    if not model.startswith((LOCAL, HUB)):
        return [architectures.weights(model, pretrained, field)]
    if pretrained:
        raise refusal(field, model, "it brings its own weights; take `pretrained` out")
    if model.startswith(HUB):
        return _in_folder(_from_hub(model, field), model, field)
    return _in_folder(Path(model.removeprefix(LOCAL)), model, field)


def digest(model: str, pretrained: str | None, field: str) -> str:
    """64 hex digits of what the model is, wherever its files lie.

    Of the bytes of `files`, and of what open_clip itself says about an architecture. Raises what
    `files` raises.
    """
    found = files(model, pretrained, field)
    if model.startswith((LOCAL, HUB)):
        return digest_of(found)
    name = architectures.listed(model)
    configs = [architectures.model_cfg(name, field), architectures.preprocess_cfg(name, pretrained)]
    return digest_of(found, json.dumps([name, *configs], sort_keys=True).encode())


def digest_of(paths: list[Path], more: bytes = b"") -> str:
    """Of some bytes, and of those of some files in this order: 64 hex digits."""
    whole = hashlib.sha256(more)
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _in_folder(folder: Path, model: str, field: str) -> list[Path]:
    if not (folder / CONFIG).is_file():
        raise refusal(
            field,
            model,
            f"{folder}: no {CONFIG} here; {field} must name a folder that open_clip wrote, or "
            "train a filter first",
        )
    weights = _weights_in(folder)
    if weights is None or not weights.is_file():  # a link to nothing is listed, too
        raise refusal(field, model, f"{folder}: a config and no weights; copy them here, too")
    return [folder / CONFIG, weights]


def _weights_in(folder: Path) -> Path | None:
    """The file that open_clip loads of a folder. Asking it would load torch into every driver."""
    found = [path for ending in ENDINGS for path in sorted(folder.glob(f"*{ending}"))]
    known = [path for path in found if path.name in KNOWN]
    if known:
        return min(known, key=lambda path: KNOWN.index(path.name))
    return next(iter(found), None)


def _from_hub(model: str, field: str) -> Path:
    """The folder of this machine's cache in which the files are, all of one revision."""
    from open_clip.constants import HF_WEIGHTS_NAME

    repo = model.removeprefix(HUB)
    config = fetched(repo, CONFIG, field, model)
    fetched(repo, HF_WEIGHTS_NAME, field, model)
    return config.parent
