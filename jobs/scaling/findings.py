"""What the figures show, in words: only what is apart by more than its intervals is claimed.

A run's final loss has an interval where `eval loss` measured it. Runs that differ in their seeds
alone are one case, and its loss is anywhere between their lowest and their highest.
"""

from collections.abc import Callable
from itertools import combinations, groupby
from typing import Any, NamedTuple

import numpy as np

from pipeline.assess.correlation import spearman

Figures = dict[str, Any]


class Case(NamedTuple):
    """Runs of one config but for the seeds: means, and the range of the loss."""

    alike: Figures
    parameters: int
    steps: int
    flops: float
    loss: float
    low: float
    high: float
    seeds: int

    @property
    def told(self) -> bool:
        """Whether anything says how far the loss could be off."""
        return self.low < self.high


def cases(runs: list[Figures]) -> list[Case]:
    """Of the runs that have a `final`, by compute. As many as there are configs."""

    def config(run: Figures) -> tuple[Any, ...]:
        alike = run["alike"]
        return run["final"]["flops"], alike["model"], alike["recipe"], run["steps"]

    ordered = sorted((run for run in runs if run["final"]), key=config)
    return [_case(list(same)) for _, same in groupby(ordered, config)]


def _case(runs: list[Figures]) -> Case:
    finals = [run["final"] for run in runs]
    one = runs[0]
    return Case(
        one["alike"],
        one["parameters"]["backbone"],
        one["steps"],
        finals[0]["flops"],
        float(np.mean([final["loss"]["value"] for final in finals])),
        min(final["loss"]["low"] for final in finals),
        max(final["loss"]["high"] for final in finals),
        len(runs),
    )


class Pairs(NamedTuple):
    """Pairs of cases that differ in one thing, the second with more of it."""

    total: int
    lower: int
    """In which more of it ends with a lower loss, and the intervals do not overlap."""
    higher: int
    overlap: int
    bare: int
    """Of the lower and the higher, those without any interval on either side."""


def larger_models(found: list[Case]) -> Pairs:
    """Models of different size, of the same data, batch and steps."""

    def same(one: Case) -> tuple[Any, ...]:
        return one.alike["data"], one.alike["batch"], one.steps

    return _pairs(found, same, lambda one: one.parameters)


def more_compute(found: list[Case]) -> Pairs:
    """Cases of the same data, of whatever size and length."""
    return _pairs(found, lambda one: (one.alike["data"],), lambda one: one.flops)


def _pairs(
    found: list[Case],
    same: Callable[[Case], tuple[Any, ...]],
    amount: Callable[[Case], float],
) -> Pairs:
    pairs = [
        sorted(pair, key=amount)
        for pair in combinations(found, 2)
        if same(pair[0]) == same(pair[1]) and amount(pair[0]) != amount(pair[1])
    ]
    lower = [pair for pair in pairs if pair[1].high < pair[0].low]
    higher = [pair for pair in pairs if pair[0].high < pair[1].low]
    bare = sum(not (one.told or other.told) for one, other in [*lower, *higher])
    overlap = len(pairs) - len(lower) - len(higher)
    return Pairs(len(pairs), len(lower), len(higher), overlap, bare)


def sentence(pairs: Pairs, more: str, what: str) -> str:
    """`more`, as in "the larger model"; `what` the pairs are."""
    if not pairs.total:
        return f"No two runs are {what}."
    told = f"Of {_count(pairs.total, 'pair')} of {what}, {more} ends lower in {pairs.lower}"
    told += f" and higher in {pairs.higher}"
    told += f"; {pairs.overlap} cannot be told apart." if pairs.overlap else "."
    if pairs.bare:
        told += (
            f" Without an interval, of one seed each: {pairs.bare} of these, which other seeds may "
            "turn round."
        )
    return told


def agreement(points: list[Figures]) -> Figures:
    """How accuracy goes with loss over `points`, each with `loss` and `top1`, a value with bounds.

    `spearman` of accuracy and minus the loss, None if it cannot be told; `n`; `apart`, the pairs
    whose accuracies' intervals do not overlap, and `agree`, those of them where the lower loss is
    the more accurate.
    """
    loss, top1 = (np.array([one[name]["value"] for one in points]) for name in ("loss", "top1"))
    rho = spearman(-loss, top1)
    apart = [
        sorted(pair, key=lambda one: one["top1"]["value"])
        for pair in combinations(points, 2)
        if max(one["top1"]["low"] for one in pair) > min(one["top1"]["high"] for one in pair)
    ]
    agree = sum(better["loss"]["value"] < worse["loss"]["value"] for worse, better in apart)
    told = None if np.isnan(rho) else round(float(rho), 6)
    return {"spearman": told, "n": len(points), "apart": len(apart), "agree": agree}


def accuracy_sentence(measure: str, found: Figures) -> str:
    """The same in words."""
    rho, n, apart = found["spearman"], found["n"], found["apart"]
    if rho is None:
        return f"{measure}: {_count(n, 'run')}, too few or too alike for an order."
    told = f"{measure}: rank correlation of low loss and accuracy {rho:.2f} over n = {n} runs"
    if not apart:
        return f"{told}; all accuracies' intervals overlap, so it says nothing."
    return (
        f"{told}; of {_count(apart, 'pair')} whose accuracies' intervals do not overlap, the lower "
        f"loss is the more accurate in {found['agree']}."
    )


def law_sentence(law: Figures) -> str:
    """The fitted law, or why there is none."""
    if "refused" in law:
        return f"No law: {law['refused']}."
    power, floor = law["power"], law["floor"]
    bounds = f"({power['low']:.3g} to {power['high']:.3g})"
    told = f"Loss goes as compute to the power of {-power['value']:.3g}; b is {power['value']:.3g} "
    told += f"{bounds}, from {law['points']} runs."
    if law["pure"]:
        told += (
            " A floor E is left out: that needs 5 different computes. So a forecast beyond these "
            "runs takes for granted that there is none."
        )
    elif floor["low"] == 0:
        told += " That there is no floor cannot be excluded."
    else:
        told += (
            f" Above a floor of {floor['value']:.3g} ({floor['low']:.3g} to {floor['high']:.3g})."
        )
    if power["low"] <= 0 or law["scale"]["low"] <= 0:
        told += " Whether the loss falls with compute at all cannot be told."
    return told


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
