"""The figures of `headrace filter evaluate` on a console."""

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from jobs.judging.reading import Account
from pipeline.report.filters import cut, interval, share


def tables(figures: dict[str, Any]) -> Iterator[Table | str]:
    """Accounts in words, then tables of the filters, the noise, the cuts, and what they share."""
    accounts = figures["accounts"]
    named = [("trusted", accounts["trusted"]), ("off_topic", accounts["off_topic"])]
    for name, account in [*named, *accounts["pools"].items()]:
        if account["given"]:
            yield escape(f"{name}: {Account.of(account).sentence}")
    yield _own(figures)
    yield _noise(figures)
    if figures["cuts"]:
        yield _cuts(figures)
    if figures["overlap"]["pairs"]:
        yield _overlap(figures)
    if figures["ranking"]:
        yield escape(figures["ranking"]["sentence"])


def _own(figures: dict[str, Any]) -> Table:
    rows = figures["accounts"]["trusted"]["judged"]
    title = f"{rows:,} held-out pairs (95% intervals)"
    table = Table("filter", "AUC", "image to caption @1", "@10", "caption to image @1", title=title)
    for name, found in figures["filters"].items():
        to_caption = found["retrieval"]["image_to_caption"]
        to_image = found["retrieval"]["caption_to_image"]
        own = (found["auc"], to_caption["1"], to_caption["10"], to_image["1"])
        table.add_row(escape(name), *map(interval, own))
    return table


def _noise(figures: dict[str, Any]) -> Table:
    noise = figures["noise"]
    title = f"known noise: {noise['rows']:,} pairs, {share(noise['clean_share'])} of them clean"
    table = Table("filter", "kept", "from score", "clean of the kept", "kept of the clean",
                  "of shuffled", "of off-topic", title=title)  # fmt: skip
    for name, found in figures["filters"].items():
        for one in found["top"]:
            kept = [share(one["kept"].get(kind)) for kind in ("shuffled", "off_topic")]
            cells = (cut(one["threshold"]), interval(one["precision"]), interval(one["recall"]))
            table.add_row(escape(name), f"{one['fraction']:g}", *cells, *kept)
    return table


def _cuts(figures: dict[str, Any]) -> Table:
    table = Table("pool", "filter", "kept", "rows", "from score", title="fractions as scores")
    for found in figures["cuts"]:
        for one in found["top"]:
            cells = (f"{one['fraction']:g}", f"{one['rows']:,}", cut(one["threshold"]))
            table.add_row(escape(found["source"]), escape(found["filter"]), *cells)
    return table


def _overlap(figures: dict[str, Any]) -> Table:
    of = figures["overlap"]
    what = "pool images" if of["of"] == "pools" else "noisy pairs"
    title = f"what two filters keep of {of['rows']:,} {what}"
    table = Table("filters", "kept", "in both", "by chance", "rank correlation", title=title)
    for pair in of["pairs"]:
        for one in pair["top"]:
            rho = "" if one["spearman"] is None else f"{one['spearman']:.3f}"
            cells = (f"{one['fraction']:g}", share(one["shared"]), share(one["chance"]), rho)
            table.add_row(escape(f"{pair['a']}, {pair['b']}"), *cells)
    return table
