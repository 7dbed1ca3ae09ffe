"""From results to the table: medians, spread, ratios."""

from statistics import median

from .measure import Result
from .rows import ANEW, FLOOR, PASS, Row

HEAD = ("images/s/core", "min to max", "of floor", "headrace ÷ it", "command s", "kept")

Rates = dict[Row, float]
"""Images per second and core, the median of the runs."""


def lines(results: dict[Row, list[Result]], images: int, cores: int) -> list[str]:
    """Markdown, one line for each row with a result."""
    middle = _middle(results, images, cores)
    out = [f"| job | tool | Pillow | {' | '.join(HEAD)} |", "|---" * (3 + len(HEAD)) + "|"]
    for row, found in results.items():
        rates = [images / r.steady / cores for r in found]
        cells = (
            f"{middle[row]:,.0f}",
            f"{min(rates):,.0f} to {max(rates):,.0f}",
            _share(middle[row], _floor(middle)),
            _ratio(None if _is_ours(row) else _strict(middle, row.base), middle[row]),
            f"{median(r.wall for r in found):.1f}",
            str(found[0].written or ""),
        )
        out.append(f"| {row.job} | {row.tool} | {found[0].pillow} | {' | '.join(cells)} |")
    return out


def summary(results: dict[Row, list[Result]], images: int, cores: int) -> list[str]:
    """What the goal is about, for each job: headrace by the rules of all, then its best row."""
    middle = _middle(results, images, cores)
    said = []
    for job in (PASS, ANEW):
        ours = {row: rate for row, rate in middle.items() if _is_ours(row) and row.base == job}
        strict = [row for row in ours if row.job == job]
        for row in strict + sorted(ours, key=ours.__getitem__)[-1:]:
            floor = _share(middle[row], _floor(middle)) or "an unknown share"
            said.append(f"{row.name}: {_beside(middle, row)}{floor} of the floor")
    return list(dict.fromkeys(said))


def _beside(middle: Rates, ours: Row) -> str:
    """The fastest peer that does all of the job, and the fastest of all."""
    peers = [row for row in middle if row.base == ours.base and not _is_ours(row)]
    peers.sort(key=middle.__getitem__)
    best = [row for row in peers if row.job == row.base][-1:] + peers[-1:]
    times = [f"{middle[ours] / middle[row]:.2f} times {row.name}; " for row in best]
    return "".join(dict.fromkeys(times))


def _middle(results: dict[Row, list[Result]], images: int, cores: int) -> Rates:
    return {row: median(images / r.steady / cores for r in found) for row, found in results.items()}


def _is_ours(row: Row) -> bool:
    return row.tool.startswith("headrace")


def _floor(middle: Rates) -> float | None:
    """Bare decode by Pillow's wheel, the first floor; every row is a share of this one."""
    return next((rate for row, rate in middle.items() if row.job == FLOOR), None)


def _strict(middle: Rates, job: str) -> float | None:
    """Headrace's rate with the library and draft setting that all have."""
    return next((rate for row, rate in middle.items() if row.job == job and _is_ours(row)), None)


def _share(rate: float, floor: float | None) -> str:
    return f"{rate / floor:.0%}" if floor else ""


def _ratio(ours: float | None, rate: float) -> str:
    return f"{ours / rate:.2f}" if ours else ""
