"""What evaluations of each kind write, by hand: the shapes that the page is told."""

import json
from pathlib import Path
from typing import Any

TOP = {"value": 0.784, "low": 0.771, "high": 0.796}
CELL = {"kind": "attentive", "lr": 0.001, "weight_decay": 0.1, "layers": [6, 11]}
JUDGED = {"n": 500, "top1": 392, "top5": 480, "loss": 0.7}

FIGURES: dict[str, dict[str, Any]] = {
    "probe": {
        "attentive": {
            "top1": TOP,
            "top5": TOP | {"value": 0.951},
            "lr": 0.001,
            "weight_decay": 0.1,
            "layers": [6, 11],
            "chosen_on": "held_out",
            "grid": [CELL | {"lr": lr, "test": JUDGED} for lr in (1e-4, 5e-4, 1e-3, 3e-3, 5e-3)],
        },
        "linear": {"top1": TOP | {"value": 0.612}, "top5": TOP, "lr": 0.1, "chosen_on": "test"},
    },
    "lora": {"top1": TOP, "top5": TOP, "trained": 5_898_240, "of": 632_000_000},
    "knn": {"k": {"10": {"top1": TOP, "top5": TOP}, "20": {"top1": TOP, "top5": None}}},
    "loss": {
        "forms": {
            "causal": {
                "mean": TOP | {"value": 0.4321},
                "positions": [1 / (n + 1) for n in range(15)],
            },
            "prefix": {"mean": TOP, "positions": []},
        }
    },
}


def write_results(folder: Path, kind: str, run: str | None, **more: Any) -> Path:
    """The results of one evaluation of a run's weights. Returns its own folder."""
    told = {"weights": run, "run": run, "sha256": "ab" * 32, "step": 8, "digest": "cd" * 16} | more
    sets = {"train": {"snapshot": "file:///labelled", "samples": 900}, "test": None}
    value = {"kind": kind, "weights": told, "config": {"seed": 0}, "data": sets, "classes": 10}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(value | {"figures": FIGURES[kind]}))
    return folder


TABLE = """# {title}

Means over seeds, with intervals.

|  | attentive | what \\| how |
| --- | ---: | --- |
| web | 78.4 (77.1 to 79.6) | {cell} |
| mix | failed | - |

- {note}

## Direction

- web wins

## Another

| a | b |
| --- | ---: |
| x | 1 |
"""


def write_table(
    folder: Path, title: str = "Table 2", cell: str = "one", note: str = "mix: failed"
) -> Path:
    """Two tables, as sweeps and benchmarks write them. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(TABLE.format(title=title, cell=cell, note=note))
    return folder
