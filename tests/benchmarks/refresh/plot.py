"""Ten refreshes at one look: what stays flat, and what grows with the ledger."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
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
INCHES = 9.6, 9.0


def picture(rows: Sequence[Row]) -> bytes:
    """A PNG of three charts: bytes, images, seconds by stage. The first snapshot is number 0."""
    stages = {stage: stage for row in rows for stage in row["seconds_of"]}
    sink = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(charts.STYLE)
        figure = Figure(figsize=INCHES, layout="constrained")
        megabytes, images, seconds = figure.subplots(3)
        _lines(megabytes, rows, "MB", BYTES, 1e-6)
        _lines(images, rows, "images", IMAGES)
        _lines(seconds, [row["seconds_of"] for row in rows], "seconds", stages)
        FigureCanvasAgg(figure).print_png(sink, metadata={"Software": None})
    return sink.getvalue()


def _lines(
    axes: Axes, rows: Sequence[Row], what: str, named: dict[str, str], scale: float = 1
) -> None:
    for number, (label, field) in enumerate(named.items()):
        values = [row.get(field, 0) * scale for row in rows]
        axes.plot(values, marker="o", markersize=4, color=COLOURS[number], label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(what)
    axes.set_xlabel("refresh; 0 is the first snapshot")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0.3)
