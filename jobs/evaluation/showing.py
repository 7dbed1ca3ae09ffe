"""Results as a person reads them: a table, and a sentence on what chose among heads."""

from typing import Any

from rich.table import Table

from jobs.console import console

CHOSEN = {
    "held_out": "Images held out of the training set chose the head; the test set only judged it.",
    "test": "The test set itself chose the head, as is usual: the figure is the best of the grid, "
    "and so a little high. `hold_out: 0.1` chooses without it.",
}


def probe(results: dict[str, Any]) -> None:
    """The chosen head of each kind, and what chose it."""
    figures = results["figures"]
    table = _table("probe", "top-1", "top-5", "rate", "decay", "layers")
    for kind, one in figures.items():
        settings = f"{one['lr']:g}", f"{one['weight_decay']:g}", _layers(one["layers"])
        table.add_row(kind, share(one["top1"]), share(one["top5"]), *settings)
    console.print(table)
    for chosen_on in sorted({one["chosen_on"] for one in figures.values()}):
        console.print(CHOSEN[chosen_on], soft_wrap=True)


def lora(results: dict[str, Any]) -> None:
    """Accuracy, and how much was trained."""
    figures = results["figures"]
    table = _table("top-1", "top-5", "trained", "of trunk", "and head")
    counts = (f"{figures[name]:,}" for name in ("trained", "of", "head"))
    table.add_row(share(figures["top1"]), share(figures["top5"]), *counts)
    console.print(table)


def share(interval: dict[str, float]) -> str:
    """`78.2% (77.8 to 78.6)`."""
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f}% ({low:.1f} to {high:.1f})"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _layers(layers: list[int]) -> str:
    first, last = layers[0], layers[-1]
    neighbours = layers == list(range(first, last + 1))
    return f"{first}-{last}" if neighbours and first != last else ", ".join(map(str, layers))


def knn(results: dict[str, Any]) -> None:
    """How often each number of neighbours is right."""
    table = _table("neighbours", "top-1", "top-5")
    for k, one in results["figures"]["k"].items():
        table.add_row(k, share(one["top1"]), share(one["top5"]))
    console.print(table)


def loss(results: dict[str, Any]) -> None:
    """The mean of each form, with its interval over images."""
    table = _table("form", "loss")
    for form, one in results["figures"]["forms"].items():
        mean = one["mean"]
        table.add_row(form, f"{mean['value']:.4f} ({mean['low']:.4f} to {mean['high']:.4f})")
    console.print(table)
