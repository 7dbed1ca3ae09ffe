"""Ten refreshes at one look: what stays flat, and what grows with the ledger."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.report import charts
from tests.benchmarks.refresh.chain import Row

COLOURS = (charts.KEPT, charts.DROPPED, "#4c8c5e", "#8a5a9e", "#a03b46", "#5d6b7a")

BYTES = {
    "image bytes read": "image_bytes_read",
    "shards and indexes written": "shard_bytes_written",
    "ledger written": "ledger_bytes_written",
    "plan written": "plan_bytes_written",
}
IMAGES = {"measured": "images_measured", "in the pool": "images_pool"}
INCHES = 9.6, 3.4


def page(rows: Sequence[Row]) -> str:
    """Three charts: bytes, images, seconds by stage. The first snapshot is number 0."""
    stages = {stage: stage for row in rows for stage in row["seconds_of"]}
    drawn = [
        ("Bytes, MB", partial(_lines, rows=rows, named=BYTES, scale=1e-6)),
        ("Images", partial(_lines, rows=rows, named=IMAGES)),
        ("Seconds by stage", partial(_lines, rows=[r["seconds_of"] for r in rows], named=stages)),
    ]
    images, last = rows[0]["images_new"], rows[-1]["images_pool"]
    parts = [f"<h2>{title}</h2>{charts.svg(title, draw, *INCHES)}" for title, draw in drawn]
    head = f"<h1>{len(rows) - 1} refreshes of {images:,} new images each, to {last:,}</h1>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>headrace refresh</title>'
        '<body style="font-family: sans-serif; max-width: 1000px; margin: 40px auto">'
        f"{head}{''.join(parts)}</body></html>\n"
    )


def _lines(axes: Axes, rows: Sequence[Row], named: dict[str, str], scale: float = 1) -> None:
    for number, (label, field) in enumerate(named.items()):
        values = [row.get(field, 0) * scale for row in rows]
        axes.plot(values, marker="o", markersize=4, color=COLOURS[number], label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("refresh; 0 is the first snapshot")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0.3)
