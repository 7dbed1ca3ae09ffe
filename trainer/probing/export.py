"""A trained head as a file, under the names of Apple's release (apple/ml-aim)."""

import json
from typing import Any

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from trainer import checkpoint, fork
from trainer.export.write import safetensors
from trainer.probing import cells
from trainer.probing.cells import Cell, GridConfig
from trainer.probing.probes import Probes


def write_head(run: str, name: str, out: str) -> None:
    """Writes the head of that name, as the log has it, from a run's newest checkpoint to `out`.

    `head.cls_token`, `head.k.weight`, `head.v.weight`, `head.linear.weight` (a linear probe: this
    alone) and the norm's `head.bn.*`, all float32; a header says what it is of. The same checkpoint
    gives the same bytes. Raises HeadraceError if there is no such head.
    """
    url = fork.parent_of(run)
    state = checkpoint.read_state(url)
    config = state["config"]
    if "grid" not in config or "kinds" not in config:
        raise HeadraceError(f"{url}: no checkpoint of probes; name the run of one")
    every, names = _cells(config)
    if name not in names:
        raise HeadraceError(f"{url}: has no head {name}; it has {', '.join(names)}")
    shape = config["weights"]["model"]
    probes = Probes(every, shape["embed_dim"], shape["num_heads"], len(config["classes"]))
    checkpoint.load_weights(url, probes)
    head = probes.heads[names.index(name)]
    tensors = {f"head.{key}": value for key, value in head.state_dict().items()}
    told = {"headrace": json.dumps(_of(state, every[names.index(name)]), sort_keys=True)}
    with writing.publishing(out) as file:
        for chunk in safetensors(tensors, "float32", told):
            file.write(chunk)


def _cells(config: dict[str, Any]) -> tuple[list[Cell], list[str]]:
    windows = [tuple(window) for window in config["layers"]]
    every = cells.cells(config["kinds"], GridConfig.model_validate(config["grid"]), windows)
    return every, [cells.name(cell, len(windows)) for cell in every]


def _of(state: dict[str, Any], cell: Cell) -> dict[str, Any]:
    config = state["config"]
    told = {name: config[name] for name in ("attention", "classes")}
    told["weights_sha256"] = config["weights"]["sha256"]
    return told | cell._asdict() | {"step": state["step"]}
