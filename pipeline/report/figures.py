"""The `figures` of a results.json as tables, by the kind of the evaluation."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.report.cells import Table, made, percent
from pipeline.report.curves import Chart, thinned

Figures = Mapping[str, Any]

TITLES = {
    "probe": "Probe on frozen features",
    "lora": "LoRA",
    "knn": "Nearest neighbours",
    "loss": "Loss by place in the sequence",
}


def title(kind: str) -> str:
    """What an evaluation of this kind is called."""
    return TITLES.get(kind, f"{kind} (a kind that this version of the page does not know)")


def tables(kind: str, figures: Figures) -> tuple[Table, ...]:
    """All figures as tables. Raises KeyError, TypeError or ValueError if they are no such ones."""
    return tuple(SHOWN.get(kind, _as_they_are)(figures))


def positions(figures: Figures) -> Chart | None:
    """Loss by patch, of the forms that have it (AIM figure 7)."""
    told = {form: one.get("positions") or [] for form, one in figures["forms"].items()}
    curves = {
        str(form): thinned([(n + 1, loss) for n, loss in enumerate(losses) if loss is not None])
        for form, losses in told.items()
        if losses
    }
    place = "patch, in the order they are read"
    return Chart("", "", place, "loss", curves, from_zero=False) if curves else None


def _probe(figures: Figures) -> list[Table]:
    columns = ("probe", "top-1", "top-5", "learning rate", "weight decay", "layers", "chosen on")
    rows, grids = [], []
    for kind, one in figures.items():
        settings = [one.get(name) for name in ("lr", "weight_decay", "layers", "chosen_on")]
        rows.append([kind, percent(one["top1"]), percent(one.get("top5")), *settings])
        if one.get("grid"):
            grids.append(_grid(kind, one["grid"]))
    on_test = any(one.get("chosen_on") == "test" for one in figures.values())
    note = "Where the test set itself chose, a figure is the best of the grid, and so too high."
    return [made("", columns, rows, [note] if on_test else []), *grids]


def _grid(kind: str, grid: list[dict[str, Any]]) -> Table:
    """Every cell of a grid; what is nested in it has columns of its own."""
    flat = [_flat(one) for one in grid]
    columns = list(dict.fromkeys(name for one in flat for name in one))
    return made(f"{kind}: the grid", columns, [[one.get(n) for n in columns] for one in flat])


def _flat(fields: Figures) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and "value" not in value:
            found |= {f"{name} {inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def _lora(figures: Figures) -> list[Table]:
    columns = ("top-1", "top-5", "trained parameters", "of")
    row = [percent(figures["top1"]), percent(figures.get("top5"))]
    return [made("", columns, [[*row, figures.get("trained"), figures.get("of")]])]


def _knn(figures: Figures) -> list[Table]:
    rows = [
        [int(k), percent(one["top1"]), percent(one.get("top5"))] for k, one in figures["k"].items()
    ]
    return [made("", ("neighbours", "top-1", "top-5"), rows)]


def _loss(figures: Figures) -> list[Table]:
    rows = [[form, one["mean"]] for form, one in figures["forms"].items()]
    return [made("", ("form", "loss"), rows)]


def _as_they_are(figures: Figures) -> list[Table]:
    return [made("", ("figure", "value"), [[name, one] for name, one in _flat(figures).items()])]


SHOWN: dict[str, Callable[[Figures], list[Table]]] = {
    "probe": _probe,
    "lora": _lora,
    "knn": _knn,
    "loss": _loss,
}
