"""`results.json`: what an evaluation came to, with how far it could be off.

    kind       "probe", "lora", "knn" or "loss"
    weights    the model: where from, its sha256, sizes and order of patches
    config     of the evaluation, but for what changes no figure
    data       snapshot and samples of each set
    classes    how many; null where none are told
    search     probes whose `layers` were searched: the figures of that run, each window a cell
    figures    probe: by kind of head the cell that was chosen, and the whole grid;
               lora: top1, top5; parameters `trained` of the trunk's, and the head's;
               knn: by k; loss: by form of question

Shares go from 0 to 1 and have 95% intervals over test images (`assess.proportions`). The same
evaluation gives the same bytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.console import console
from jobs.evaluation.extracting import PassConfig
from pipeline.assess.proportions import wilson
from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import read_snapshot
from trainer import checkpoint, metrics
from trainer.config import FREE_TO_CHANGE
from trainer.export.runs import folder_of
from trainer.extracting import Rows
from trainer.probing.choosing import Probes, chosen, judged_on

NAME = "results.json"


def last_probes(run: str) -> Probes:
    """What the last validation of a finished run says of each cell. Raises HeadraceError."""
    lines = [line for line in metrics.read(Path(run) / "metrics.jsonl") if "probes" in line]
    if not lines:
        raise HeadraceError(f"{run}/metrics.jsonl: no validation in it; restore it, or run anew")
    found: Probes = lines[-1]["probes"]
    return found


def results_of(config: Any, kind: str) -> dict[str, Any]:
    """The results of a finished run. Raises HeadraceError if its log or checkpoint is gone."""
    probes = last_probes(config.run)
    figures = probe_figures(probes) if kind == "probe" else lora_figures(config.run, probes)
    return {
        "kind": kind,
        "weights": _weights(config),
        "config": config.model_dump(mode="json", exclude=FREE_TO_CHANGE | {"classes"}),
        "data": {name: _set(getattr(config, name)) for name in ("train", "test")},
        "classes": len(config.classes),
        "figures": figures,
    }


def publish(
    config: PassConfig,
    kind: str,
    weights: dict[str, Any],
    sets: Mapping[str, Rows],
    classes: int | None,
    figures: dict[str, Any],
) -> dict[str, Any]:
    """Writes the results of passes over sets into the evaluation's folder; returns them."""
    data = {
        name: {"snapshot": rows.source.shards.label, "samples": len(rows.source)}
        for name, rows in sets.items()
    }
    found = {
        "kind": kind,
        "weights": weights,
        "config": config.model_dump(mode="json", exclude={"evaluation"}),
        "data": data,
        "classes": classes,
        "figures": figures,
    }
    return write(config.url, found)


def write(folder: str, found: dict[str, Any]) -> dict[str, Any]:
    """Publishes results whole as `results.json` in a folder, and says where; returns them."""
    url = address.join(address.absolute(folder), NAME)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    writing.publish(url, text.encode("utf-8", "replace") + b"\n")
    console.print(f"results: {address.redact(url)}", markup=False, soft_wrap=True)
    return found


def probe_figures(probes: Probes) -> dict[str, Any]:
    """The figures of `results.json` by kind of head."""
    return {kind: _of_kind(probes, kind) for kind in _kinds(probes)}


def _kinds(probes: Probes) -> list[str]:
    return sorted({cell["kind"] for cell in probes.values()})


def _of_kind(probes: Probes, kind: str) -> dict[str, Any]:
    _, best = chosen(probes, kind)
    settings = {name: best[name] for name in ("lr", "weight_decay", "layers")}
    cells = grid(probes, kind)
    return _shares(best["test"]) | settings | {"chosen_on": judged_on(best), "grid": cells}


def grid(probes: Probes, kind: str) -> list[dict[str, Any]]:
    """Every cell of a kind, named, in the order of the grid; `top1` and `top5` are counts."""
    return [{"name": name} | cell for name, cell in probes.items() if cell["kind"] == kind]


def lora_figures(run: str, probes: Probes) -> dict[str, Any]:
    """The figures of `results.json` of a LoRA."""
    (cell,) = probes.values()
    lines = metrics.read(Path(run) / "metrics.jsonl")
    counts = next(line for line in reversed(lines) if "trained" in line)
    return _shares(cell["test"]) | {name: counts[name] for name in ("trained", "of", "head")}


def _shares(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: wilson(counts[name], counts["n"])._asdict() for name in ("top1", "top5")}


def _weights(config: Any) -> dict[str, Any]:
    """What was trained on, as the run's newest checkpoint has it: the file may be another since."""
    newest = checkpoint.newest(config.where)
    if newest is None:
        raise HeadraceError(f"{config.where}: the run's checkpoints are gone; restore one")
    run = folder_of(config.weights)
    where = {"weights": address.redact(config.weights), "run": run and address.redact(run)}
    known: dict[str, Any] = checkpoint.read_state(newest)["config"]["weights"]
    return where | known


def _set(url: str) -> dict[str, Any]:
    return {"snapshot": url, "samples": read_snapshot(url).samples}
