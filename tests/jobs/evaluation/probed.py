"""Results of a probe as `headrace eval probe` writes them, made up."""

from typing import Any

from jobs.evaluation.published import BENCHMARKS, Size


def results(value: float, size: Size | None = None, chosen_on: str = "held_out") -> dict[str, Any]:
    """A probe that is right on that share of the test images."""
    top1 = {"value": value, "low": value - 0.021, "high": value + 0.02}
    size = size or Size(1200, 300, 10)
    chosen = {"lr": 1e-3, "weight_decay": 0.1, "layers": [2, 3], "chosen_on": chosen_on}
    return {
        "kind": "probe",
        "weights": {"weights": "runs/mine", "sha256": "0" * 64, "depth": 4},
        "config": {},
        "data": {
            "train": {"snapshot": "file:///train", "samples": size.train},
            "test": {"snapshot": "file:///test", "samples": size.test},
        },
        "classes": size.classes,
        "figures": {"attentive": {"top1": top1, "top5": top1, "grid": []} | chosen},
    }


def like_the_paper(value: float) -> dict[str, dict[str, Any]]:
    """All 15 sets, of the paper's sizes."""
    return {key: results(value, one.size) for key, one in BENCHMARKS.items()}
