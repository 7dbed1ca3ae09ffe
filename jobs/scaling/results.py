"""What `headrace eval` found of a run: its results.json as points of these figures."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError

Figures = dict[str, Any]


TRUNK = ("image_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
"""Sizes that a run and what is evaluated of it must share; a head may be gone by then."""


def read(folder: Path, model: Mapping[str, Any]) -> Figures:
    """A results.json of a run with this model, as its config has it.

    Raises HeadraceError if there is none that `headrace eval` wrote, or it is of another model.
    """
    found = _read(folder)
    told = found["weights"].get("model")
    if isinstance(told, dict):
        for field in TRUNK:
            if field in told and told[field] != model[field]:
                raise HeadraceError(
                    f"{folder}: its weights have {field} {told[field]} and the run has "
                    f"{model[field]}: under `evaluations`, name the folder of this run"
                )
    return found


def _read(folder: Path) -> Figures:
    path = folder / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind, figures = found["kind"], found["figures"]
        told = isinstance(figures, dict) and isinstance(found["weights"], dict)
        if kind not in ("probe", "lora", "knn", "loss") or not told:
            raise ValueError(f"of a kind {kind!r}")
    except OSError as error:
        raise HeadraceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise HeadraceError(f"{path}: not written by headrace eval: {error}") from error
    return dict(found)


def set_of(snapshot: str) -> str:
    """What copies of one labelled set have in common: the snapshot's id, which is of content."""
    return snapshot.rpartition("/")[2]


def accuracies(found: Figures) -> Iterator[Figures]:
    """Each way of measuring: `measure`, `test` (a snapshot) and `top1`, an interval of a share."""
    figures = found["figures"]
    each = {
        "probe": lambda: {kind: one for kind, one in figures.items() if one},
        "lora": lambda: {"lora": figures},
        "knn": lambda: {f"knn, k = {k}": one for k, one in figures["k"].items()},
        "loss": dict,
    }[found["kind"]]()
    for measure, one in each.items():
        yield {
            "measure": measure,
            "test": found["data"]["test"]["snapshot"],
            "step": found["weights"].get("step"),
            "top1": {name: one["top1"][name] for name in ("value", "low", "high")},
        }


def losses(found: Figures) -> dict[str, Figures]:
    """Form → `mean`, an interval, and `positions`, along the sequence; none of another kind."""
    return dict(found["figures"]["forms"]) if found["kind"] == "loss" else {}
