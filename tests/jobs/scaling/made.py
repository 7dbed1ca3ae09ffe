"""Runs and results as `reading` and `headrace eval` give them, without a training."""

from typing import Any


def made(
    name: str,
    parameters: int,
    steps: int,
    loss: float | None,
    curve: list[float] | None = None,
    finished: bool = True,
    **alike: Any,
) -> dict[str, Any]:
    """A run whose loss came down from 1; 6 FLOPs a parameter and image, batches of 1."""
    last = steps if finished else steps // 2
    points = ((0, 1.0), (last // 2, 0.8), (last, loss))
    return {
        "run": name,
        "parameters": {"backbone": parameters, "head": 1},
        "steps": steps,
        "images": steps,
        "flops_per_image": 6.0 * parameters,
        "validated": [
            {"step": step, "flops": 6.0 * parameters * step, "losses": {"causal": one}}
            for step, one in points
        ],
        "finished": finished,
        "fork": False,
        "curve": curve,
        "validation": "val",
        "alike": {
            "units": "pixels",
            "data": "web",
            "batch": 1,
            "model": str(parameters),
            "recipe": "",
        }
        | alike,
    }


def interval(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def probed(top1: float, test: str = "set", step: int | None = None, half: float = 0.05) -> dict:
    """The results of an attentive probe."""
    return {
        "kind": "probe",
        "weights": {"step": step},
        "data": {"test": {"snapshot": test}},
        "figures": {"attentive": {"top1": interval(top1, half)}},
    }


def measured(loss: float, half: float, step: int, test: str = "set") -> dict:
    """The results of `eval loss`."""
    causal = {"mean": interval(loss, half), "positions": [loss + 0.1, loss, loss - 0.1]}
    return {
        "kind": "loss",
        "weights": {"step": step},
        "data": {"test": {"snapshot": test}},
        "figures": {"forms": {"causal": causal}},
    }
