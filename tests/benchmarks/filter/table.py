"""Rates as a table: beside the bare model, beside what nothing could pass, and ours beside each."""

from collections.abc import Iterator
from statistics import median

from tests.benchmarks.filter.rows import Row
from tests.benchmarks.trainer.timing import line, spread

HEAD = ("row", "processes x threads", "readers", "images/s", "min to max", "of the bare model")
HEAD += ("min to max", "of the floor", "headrace ÷ it", "min to max")


def table(found: dict[Row, list[float]], device: str) -> Iterator[str]:
    """Markdown. Ratios are of rates in the same run; a rate is of all processes together."""
    yield line(*HEAD)
    yield "|---" * len(HEAD) + "|"
    bare = {row.bare: rates for row, rates in found.items() if row.way == "bare"}
    ours = {row.images_alone: rates for row, rates in reversed(found.items()) if row.way == "ours"}
    decoding = [rate for row, rates in found.items() if row.way == "decoding" for rate in rates]
    for row, rates in found.items():
        yield line(
            row.name,
            f"{row.processes} x {row.threads}",
            row.readers or "",
            f"{median(rates):,.1f}",
            spread(rates, 1),
            *against(row, rates, bare.get(row.bare, []), decoding, device),
            *(ratios(ours.get(row.images_alone, []), rates, "{:.2f}") if row.scores else ("", "")),
        )


def against(
    row: Row, rates: list[float], bare: list[float], decoding: list[float], device: str
) -> tuple[str, ...]:
    """The shares of the bare model and of the floor, where a row scores at all."""
    if not row.scores:
        return "", "", ""
    pairs = zip(bare, decoding, strict=False)
    floor = [min(a, b) if device == "cuda" else 1 / (1 / a + 1 / b) for a, b in pairs]
    return *ratios(rates, bare, "{:.0%}"), ratios(rates, floor, "{:.0%}")[0]


def ratios(some: list[float], others: list[float], form: str) -> tuple[str, str]:
    """The median of some ÷ others run by run, and their spread; nothing where a side is missing."""
    found = [one / other for one, other in zip(some, others, strict=False)]
    if not found:
        return "", ""
    return form.format(median(found)), " to ".join(form.format(f(found)) for f in (min, max))
