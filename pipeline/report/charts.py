"""Charts as SVG text: the same figures give the same bytes."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1c2733", "#5d6b7a", "#e3e7ec"
KEPT, DROPPED, OTHER = "#2b6f9e", "#e0893a", "#c6cdd5"
"""The page's three colours, the same in every section; see report.html."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text; the page's font draws it
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#b4bdc7",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "text.parse_math": False,
}


def svg(name: str, draw: Callable[[Axes], None], width: float, height: float) -> Markup:
    """What `draw` puts on one pair of axes, as an inline SVG of so many inches.

    Starts from matplotlib's own defaults, whatever the user's matplotlibrc says. matplotlib escapes
    the text that `draw` puts into it.
    """
    sink = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": f"headrace {name}"})
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(sink, metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    label = f'<svg role="img" aria-label="{escape(name)}"'
    return Markup(text[text.index("<svg") :].replace("<svg", label, 1))
