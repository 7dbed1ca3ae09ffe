"""Whether our rows stand in the paper's order, seed by seed."""

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.sweep.intervals import t_interval
from jobs.sweep.published import LOSS, Claim

AGREES, DISAGREES, NOISE = "agrees", "disagrees", "within the noise"
ONE_SEED, ABSENT = "one seed: cannot be told", "not run"
NO_SPREAD = "the same in all seeds: cannot be told"

ROUNDING = 1e-9
"""A spread below this is of the arithmetic, not of the seeds."""

Values = Mapping[int, float]
"""Seed → accuracy in percent, or loss."""


def directions(
    claims: Iterable[Claim], values: Mapping[str, Mapping[str, Values]]
) -> list[dict[str, Any]]:
    """What becomes of each claim, for JSON; `values` are by measure, then row."""
    return [_direction(claim, values.get(claim.measure, {})) for claim in claims]


def _direction(claim: Claim, rows: Mapping[str, Values]) -> dict[str, Any]:
    told = claim._asdict()
    found = advantage(rows.get(claim.better, {}), rows.get(claim.worse, {}))
    found = [-one for one in found] if claim.measure == LOSS else found
    if not found:
        return told | {"ours": None, "verdict": ABSENT}
    value, low, high = t_interval(found)
    ends = {"low": None, "high": None} if len(found) == 1 else {"low": low, "high": high}
    ours = {"value": value, **ends, "n": len(found)}
    return told | {"ours": ours, "verdict": verdict(found)}


def advantage(better: Values, worse: Values) -> list[float]:
    """`better` less `worse`, of each seed that has both."""
    return [better[seed] - worse[seed] for seed in sorted(better.keys() & worse.keys())]


def verdict(differences: list[float]) -> str:
    """Of paired differences, positive where a seed agrees.

    Only an interval of their mean that leaves out 0 says something. It is made of the spread, and
    on a small test set a few seeds may differ by the same count of images: then there is none to
    make it of. Each pair is judged by itself, without a correction for how many there are. Raises
    ValueError for none.
    """
    if len(differences) == 1:
        return ONE_SEED
    if max(differences) - min(differences) < ROUNDING:
        return NO_SPREAD
    _, low, high = t_interval(differences)
    if low > 0:
        return AGREES
    return DISAGREES if high < 0 else NOISE
