"""From results to the table: medians, spread, ratios."""

from statistics import median

from .measure import Result
from .rows import ANEW, FLOOR, PASS, Row

HEAD = ("images/s/core", "min to max", "of floor", "headrace ÷ it", "command s", "kept")


def lines(results: dict[Row, list[Result]], images: int, cores: int) -> list[str]:
    """Markdown, one line for each row with a result."""
    rate = {row: [images / r.steady / cores for r in found] for row, found in results.items()}
    middle = {row: median(rates) for row, rates in rate.items() if rates}
    out = [f"| job | tool | Pillow | {' | '.join(HEAD)} |", "|---" * (3 + len(HEAD)) + "|"]
    for row in middle:
        found = results[row]
        cells = (
            f"{middle[row]:,.0f}",
            f"{min(rate[row]):,.0f} to {max(rate[row]):,.0f}",
            _share(middle[row], _floor(middle)),
            _ratio(_ours(middle, row), middle[row]),
            f"{median(r.wall for r in found):.1f}",
            str(found[0].written or ""),
        )
        out.append(f"| {row.job} | {row.tool} | {found[0].pillow} | {' | '.join(cells)} |")
    return out


def summary(results: dict[Row, list[Result]], images: int, cores: int) -> list[str]:
    """The two figures that the goal is about, for each job."""
    middle = {
        row: median(images / r.steady / cores for r in found)
        for row, found in results.items()
        if found
    }
    said = []
    for job in (PASS, ANEW):
        peers = {row: rate for row, rate in middle.items() if row.job == job and not _is_ours(row)}
        ours = next(
            (rate for row, rate in middle.items() if row.job == job and _is_ours(row)), None
        )
        if ours and peers:
            best = max(peers, key=lambda row: peers[row])
            floor = _share(ours, _floor(middle)) or "an unknown share"
            said.append(
                f"{job}: {ours / peers[best]:.2f} times the best peer, {best.tool}; "
                f"{floor} of the floor"
            )
    return said


def _is_ours(row: Row) -> bool:
    return row.tool.startswith("headrace")


def _floor(middle: dict[Row, float]) -> float | None:
    """Bare decode by Pillow's wheel, the first floor; every row is a share of this one."""
    return next((rate for one, rate in middle.items() if one.job == FLOOR), None)


def _ours(middle: dict[Row, float], row: Row) -> float | None:
    """Headrace's rate at the same job; a library of its own competes with plain pass-through."""
    if row.job == FLOOR or _is_ours(row):
        return None
    job = ANEW if row.job == ANEW else PASS
    return next((rate for one, rate in middle.items() if one.job == job and _is_ours(one)), None)


def _share(rate: float, floor: float | None) -> str:
    return f"{rate / floor:.0%}" if floor else ""


def _ratio(ours: float | None, rate: float) -> str:
    return f"{ours / rate:.2f}" if ours else ""
