"""A model as open_clip keeps one on disk, and as `local-dir:` finds it."""

import json
import posixpath
from typing import Any

from safetensors.torch import save as packed
from torch import Tensor

from pipeline.clip.names import CONFIG
from pipeline.format import store, writing

WEIGHTS = "open_clip_model.safetensors"
RECORD = "filter.json"
"""Where the model comes from: ours, which open_clip does not read."""

SCALARS = ("logit_scale", "logit_bias")
"""What a sharded model holds as a vector of one, and open_clip's hub files as a scalar."""


def save(
    folder: str,
    model_cfg: dict[str, Any],
    preprocess_cfg: dict[str, Any],
    weights: dict[str, Tensor],
    record: dict[str, Any],
) -> None:
    """Writes a folder, or URL of a store, which any open_clip loads; the config comes last.

    The config of a model that lay there goes first: a folder half written is no model, and not one
    of the new weights under the old config.

    `weights`: the model's state dict, in the dtypes to keep. `record` goes to filter.json. Raises
    HeadraceError if the store refuses.
    """
    model_cfg = {key: value for key, value in model_cfg.items() if key != "nonscalar_logit_scale"}
    plain = {name: _plain(name, value) for name, value in weights.items()}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    files = {WEIGHTS: packed(plain), RECORD: _text(record), CONFIG: _text(config)}
    _withdraw(posixpath.join(folder, CONFIG))
    for name, data in files.items():
        writing.publish(posixpath.join(folder, name), data)


def _withdraw(config: str) -> None:
    fs, path = store.filesystem(config)
    with store.reading(config):
        if fs.exists(path):
            fs.rm_file(path)


def _plain(name: str, value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.reshape(()) if name in SCALARS else value


def _text(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode()
