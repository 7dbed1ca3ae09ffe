"""From results to tables: medians, spread, ratios."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from .measure import Conversion, Epoch
from .rows import FAR, FLOOR, READERS, STREAM, Row
from .shuffle import Quality

SPEED = ("images/s", "min to max", "of the floor", "headrace ÷ it", "first batch s")
LOOKS = ("memory MB", "shards a batch", "fewest", "entropy", "unordered")
CONVERTED = ("conversion s", "MB written")
GO_ON = {row.script for row in READERS if row.resumes and row.home}
"""The peers' tools that have a state."""


@dataclass
class Results:
    """By row; what failed is absent."""

    conversions: dict[Row, Conversion] = field(default_factory=dict)
    epochs: dict[Row, list[Epoch]] = field(default_factory=dict)
    peaks: dict[Row, int] = field(default_factory=dict)
    qualities: dict[Row, Quality] = field(default_factory=dict)
    perfect: Quality | None = None
    """Of headrace's samples in a random order: what an epoch of this size can reach."""
    resumes: dict[Row, tuple[list[float], list[float]]] = field(default_factory=dict)
    elastic: dict[Row, str] = field(default_factory=dict)
    stored: dict[Row, Epoch] = field(default_factory=dict)
    """One epoch each, from S3."""


def tables(results: Results) -> Iterator[str]:
    """Those of what was measured, and what it is held against."""
    parts = {
        speed: results.epochs,
        resumes: results.resumes,
        elastic: results.elastic,
        stored: results.stored,
    }
    for lines in [part for part, found in parts.items() if found] + [goals]:
        yield "\n".join(lines(results))


def speed(results: Results) -> Iterator[str]:
    """Markdown, one line for each row with a timed epoch."""
    middle = rates(results)
    yield from _head("tool", "Pillow", *SPEED, *LOOKS, *CONVERTED)
    for row, found in results.epochs.items():
        each = [one.rate for one in found]
        first = median(one.first for one in found)
        yield _line(
            row.tool,
            found[0].pillow,
            f"{middle[row]:,.0f}",
            f"{min(each):,.0f} to {max(each):,.0f}",
            _share(middle[row], _floor(middle, row.simd)),
            _ratio(_ours(middle, row.simd), middle[row]) if row.home else "",
            f"{first:.2f}" if first else "",
            *_looks(results, row),
            *_converted(results, row),
        )
    if results.perfect:
        yield _line("random order", *[""] * 7, *_quality(results.perfect), "", "")


def resumes(results: Results) -> Iterator[str]:
    """Seconds to the first batch of a new process, at step 0 and far from it."""
    yield from _head("tool", "at step 0", "far from it", "difference s")
    for row, (near, far) in results.resumes.items():
        seconds = median(near), median(far)
        yield _line(row.tool, *(f"{one:.2f}" for one in seconds), f"{seconds[1] - seconds[0]:+.2f}")


def elastic(results: Results) -> Iterator[str]:
    """What other numbers of ranks got."""
    yield from _head("tool", "4, then 3, then 2 ranks, beside 4 without a stop")
    for row, outcome in results.elastic.items():
        yield _line(row.tool, outcome)


def stored(results: Results) -> Iterator[str]:
    """One epoch from S3."""
    yield from _head("tool", "images/s from S3", "first batch s")
    for row, found in results.stored.items():
        yield _line(row.tool, f"{found.rate:,.0f}", f"{found.first:.2f}")


def goals(results: Results) -> Iterator[str]:
    """What the figures are held against."""
    middle = rates(results)
    for simd in (False, True):
        ours, floor = _ours(middle, simd), _floor(middle, simd)
        peers = [row for row in middle if row.script in GO_ON and row.simd == simd]
        if ours and peers:
            best = max(peers, key=middle.__getitem__)
            times = _ratio(ours, middle[best])
            yield f"{times} times {best.tool}, the fastest that resumes (goal: 1.2)"
        if ours and floor:
            yield f"{ours / floor:.0%} of the floor (goal: 85%)"
    if FAR in results.resumes:
        near, far = map(median, results.resumes[FAR])
        yield f"{far - near:+.2f} s to begin at step 1,000,000 of 2 billion samples (goal: 0.2 s)"
    busy = [one.busy for found in results.epochs.values() for one in found]
    if busy:
        yield f"others used {median(busy):.0%} of the machine before a run, {max(busy):.0%} at most"


def rates(results: Results) -> dict[Row, float]:
    """Images a second, the median of the runs."""
    return {row: median(one.rate for one in found) for row, found in results.epochs.items()}


def _ours(middle: dict[Row, float], simd: bool) -> float | None:
    """The first row of headrace with this Pillow: the others are its variants."""
    mine = (rate for row, rate in middle.items() if row.script == STREAM and row.simd == simd)
    return next(mine, None)


def _floor(middle: dict[Row, float], simd: bool) -> float | None:
    """The faster one with this Pillow."""
    floors = (rate for row, rate in middle.items() if row.script == FLOOR and row.simd == simd)
    return max(floors, default=None)


def _looks(results: Results, row: Row) -> tuple[str, ...]:
    quality = _quality(results.qualities[row]) if row in results.qualities else ("",) * 4
    peak = results.peaks.get(row)
    return (f"{peak / 1e6:,.0f}" if peak else "", *quality)


def _quality(found: Quality) -> tuple[str, ...]:
    return (
        f"{found.shards:.0f}",
        str(found.fewest),
        f"{found.entropy:.2f}",
        f"{found.unordered:.2f}",
    )


def _converted(results: Results, row: Row) -> tuple[str, ...]:
    found = results.conversions.get(row)
    return (f"{found.seconds:.1f}", f"{found.nbytes / 1e6:,.1f}") if found else ("", "")


def _ratio(rate: float | None, to: float) -> str:
    return f"{rate / to:.2f}" if rate else ""


def _share(rate: float, floor: float | None) -> str:
    return f"{rate / floor:.0%}" if floor else ""


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield "|---" * len(names) + "|"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
