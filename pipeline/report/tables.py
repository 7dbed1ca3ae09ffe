"""Where images come from: how much of each source, and of each web domain, was kept."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.reasons import words

SHOWN = 30
"""Lines of a table; the smaller origins are one line together."""

NOWHERE = "no URL told"


@dataclass(frozen=True)
class Line:
    """One origin."""

    name: str
    pool: int
    kept: int
    top: str
    """What dropped most of it, in words; empty where nothing did."""
    dropped: int
    """How many that were."""

    @property
    def share(self) -> float:
        """Kept of what was there."""
        return self.kept / max(self.pool, 1)


@dataclass(frozen=True)
class Origins:
    """The largest origins, the others as one line or none, and how many there are."""

    lines: tuple[Line, ...]
    rest: Line | None
    total: int


def by_source(rows: pa.Table, sources: pa.Table) -> Origins:
    """One line for each source. `rows` as in Curation, `sources` in plan.SOURCES_SCHEMA."""
    each = np.repeat(np.arange(sources.num_rows), sources["rows"].to_numpy())
    return _origins(sources["source"].take(pa.array(each)), rows["reason"])


def by_domain(rows: pa.Table) -> Origins | None:
    """One line for each domain that the ledger's `url` names; None where there is no URL."""
    if "domain" not in rows.column_names or rows["domain"].null_count == rows.num_rows:
        return None
    domain = rows["domain"].cast(pa.string())
    return _origins(pc.fill_null(domain, NOWHERE), rows["reason"])


def _origins(origin: pa.ChunkedArray, reason: pa.ChunkedArray) -> Origins:
    table = pa.table({"origin": origin, "reason": pc.fill_null(reason, "")})
    counts = table.group_by(["origin", "reason"]).aggregate([([], "count_all")])
    sizes = counts.group_by("origin").aggregate([("count_all", "sum")])
    sizes = sizes.sort_by([("count_all_sum", "descending"), ("origin", "ascending")])
    largest = sizes["origin"].slice(0, SHOWN)
    lines = tuple(_line(name, counts.filter(pc.equal(counts["origin"], name))) for name in largest)
    rest = counts.filter(pc.invert(pc.is_in(counts["origin"], largest.combine_chunks())))
    others = _line(f"{sizes.num_rows - len(lines):,} others", rest) if rest.num_rows else None
    return Origins(lines, others, sizes.num_rows)


def _line(name: pa.Scalar | str, counts: pa.Table) -> Line:
    by_reason = counts.group_by("reason").aggregate([("count_all", "sum")])
    order = [("count_all_sum", "descending"), ("reason", "ascending")]
    pairs = by_reason.sort_by(order).to_pylist()
    reasons = {pair["reason"]: pair["count_all_sum"] for pair in pairs}
    pool, kept = sum(reasons.values()), reasons.pop("", 0)
    top = next(iter(reasons), None)
    text = name if isinstance(name, str) else name.as_py()
    return Line(text, pool, kept, words(top).title if top else "", reasons[top] if top else 0)
