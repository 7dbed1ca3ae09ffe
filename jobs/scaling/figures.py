"""The figures of scaling.json from what was read: pure functions of it.

form, losses_of     which validation loss is drawn; the set of `eval loss` that final losses are
                    of, null where they are the logs'
runs                each: run (its name), model, parameters (backbone, head), steps, images (of the
                    whole schedule), flops_per_image, losses (step, flops and each form's loss, as
                    logged), points (of the drawn form), finished, fork, curve (along the
                    sequence), final (flops, loss with bounds) or else outside, the reason
law                 floor E, scale A, power b with bounds; pure, points, spread, and a band to
                    draw; or refused, the reason
accuracy            each: measure, test (a snapshot), points (run, loss, top1), spearman, n,
                    apart and agree (`findings.agreement`)
findings            sentences
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jobs.scaling import findings, results
from pipeline.assess import powerlaw
from pipeline.format.errors import HeadraceError

Figures = dict[str, Any]

FORMS = ("causal", "prefix", "masked")
"""Of the validation loss; the first that all runs have is drawn. `causal` is first, as it is asked
of every image alike, and as the curve along the sequence is of it."""

CURVE = 96
"""Points of the band of the law, over the computes of the runs and one decade beyond."""


def gather(runs: list[Figures], evaluations: Mapping[str, list[Figures]]) -> Figures:
    """All figures and sentences of `runs` (`reading.read`) and their results, by run.

    Raises HeadraceError if their losses are not of one kind.
    """
    form = _form(runs)
    shown = [_run(run, form) for run in runs]
    measured, losses_of = _measured(shown, form, evaluations)
    shown = [_with_measured(run, measured.get(run["run"])) for run in shown]
    law = _law([run for run in shown if run["final"]])
    accuracy = _accuracy(shown, evaluations)
    return {
        "form": form,
        "losses_of": losses_of,
        "runs": [{k: v for k, v in run.items() if k != "alike"} for run in shown],
        "law": law,
        "accuracy": accuracy,
        "findings": _sentences(shown, law, accuracy, losses_of),
    }


def _form(runs: list[Figures]) -> str:
    if len({run["alike"]["units"] for run in runs}) > 1:
        told = "; ".join(f"{run['run']}: {run['alike']['units']}" for run in runs)
        raise HeadraceError(f"runs: their losses measure different things: {told}; draw them apart")
    for form in FORMS:
        if all(form in point["losses"] for run in runs for point in run["validated"]):
            return form
    raise HeadraceError("runs: no form of the validation loss is in all logs; draw them apart")


def _run(run: Figures, form: str) -> Figures:
    """With `points` that have a loss, `final` if it counts for the law, or `outside`: why not."""
    points = [
        {"step": one["step"], "flops": one["flops"], "loss": one["losses"][form]}
        for one in run["validated"]
        if one["losses"][form] is not None
    ]
    outside = _outside(run, points)
    final = None
    if not outside:
        loss = dict.fromkeys(("value", "low", "high"), points[-1]["loss"])
        final = {"flops": points[-1]["flops"], "loss": loss}
    rest = {name: value for name, value in run.items() if name != "validated"}
    told = {"losses": run["validated"], "points": points, "final": final, "outside": outside}
    return rest | told


def _measured(
    runs: list[Figures], form: str, evaluations: Mapping[str, list[Figures]]
) -> tuple[dict[str, Figures], str | None]:
    """What `eval loss` says of each run's end, and of which set; nothing unless it says so of all
    ends and on one set: losses of two sets are in no order.
    """
    found = {
        run["run"]: (results.losses(one)[form], one["data"]["test"]["snapshot"])
        for run in runs
        for one in evaluations.get(run["run"], [])
        if run["final"] and form in results.losses(one)
        if one["weights"].get("step") == run["steps"]
    }
    sets = [test for _, test in found.values()]
    if len({results.set_of(test) for test in sets}) != 1 or len(found) < sum(
        bool(run["final"]) for run in runs
    ):
        return {}, None
    return {name: loss for name, (loss, _) in found.items()}, sets[0]


def _with_measured(run: Figures, measured: Figures | None) -> Figures:
    """With its bounds, and the loss at every position for the log's parts of the sequence."""
    if measured is None:
        return run
    loss = {name: measured["mean"][name] for name in ("value", "low", "high")}
    curve = measured.get("positions") or run["curve"]
    return run | {"final": run["final"] | {"loss": loss}, "curve": curve}


def _outside(run: Figures, points: list[Figures]) -> str | None:
    if run["fork"]:
        return "it went on from another run, whose compute its folder does not tell"
    if not run["finished"]:
        return "its schedule is not at its end, so its learning rate has not come down"
    if not points or points[-1]["step"] != run["steps"]:
        return "its last loss is not finite"
    return None


def _law(runs: list[Figures]) -> Figures:
    """By its numbers, and as a band to draw; or `refused`, with the reason."""
    if len({run["alike"]["data"] for run in runs}) > 1:
        return {
            "refused": "the runs learn from different data or objectives, each with its own law"
        }
    compute = np.array([run["final"]["flops"] for run in runs])
    loss = np.array([run["final"]["loss"]["value"] for run in runs])
    try:
        fit = powerlaw.fit(compute, loss)
    except powerlaw.Unfit as reason:
        return {"refused": str(reason)}
    at = np.geomspace(compute.min(), compute.max() * 10, CURVE)
    value, low, high = (_rounded(line) for line in fit.at(at))
    return {
        "floor": _interval(fit.floor),
        "scale": _interval(fit.scale),
        "power": _interval(fit.power),
        "pure": fit.pure,
        "points": fit.points,
        "spread": float(f"{fit.spread:.6g}"),
        "band": {"flops": _rounded(at), "value": value, "low": low, "high": high},
    }


def _accuracy(runs: list[Figures], evaluations: Mapping[str, list[Figures]]) -> list[Figures]:
    """One entry for each way of measuring and set, by name."""
    each: dict[tuple[str, str], list[Figures]] = {}
    names: dict[tuple[str, str], str] = {}
    for run in runs:
        for evaluated in evaluations.get(run["run"], []):
            for one in results.accuracies(evaluated):
                loss = _loss_at(run, one["step"])
                if loss is not None:
                    point = {"run": run["run"], "loss": loss, "top1": one["top1"]}
                    key = one["measure"], results.set_of(one["test"])
                    names.setdefault(key, one["test"])
                    each.setdefault(key, []).append(point)
    return [
        {"measure": key[0], "test": names[key], "points": points} | findings.agreement(points)
        for key, points in sorted(each.items())
    ]


def _loss_at(run: Figures, step: int | None) -> Figures | None:
    """Of the weights that were evaluated, the last where no step is told.

    None if that step was not validated.
    """
    step = run["steps"] if step is None else step
    if run["final"] and step == run["steps"]:
        return dict(run["final"]["loss"])
    found = [one["loss"] for one in run["points"] if one["step"] == step]
    return dict.fromkeys(("value", "low", "high"), found[-1]) if found else None


def _sentences(
    runs: list[Figures], law: Figures, accuracy: list[Figures], losses_of: str | None
) -> list[str]:
    found = findings.cases(runs)
    larger, more = findings.larger_models(found), findings.more_compute(found)
    sizes = "models of different size at equal steps, batch and data"
    told = [
        findings.sentence(larger, "the larger model", sizes),
        findings.sentence(more, "more compute", "different compute on the same data"),
        findings.law_sentence(law),
        *(findings.accuracy_sentence(one["measure"], one) for one in accuracy),
    ]
    if losses_of:
        told.append(f"Final losses are those of `eval loss` on {losses_of}.")
    sets = sorted({str(run["validation"]) for run in runs})
    if len(sets) > 1 and not losses_of:
        told.append(f"Losses are of different validation sets, if these are: {', '.join(sets)}.")
    return told


def _interval(found: Any) -> Figures:
    return {name: float(f"{value:.6g}") for name, value in found._asdict().items()}


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
