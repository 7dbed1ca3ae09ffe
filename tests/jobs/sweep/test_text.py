"""A table as Markdown, of figures made by hand."""

from jobs.sweep.gathering import summary
from jobs.sweep.text import markdown

TRAINING = {"parameters": 1_234_567, "shape": "192 x 4, 3 heads; head mlp 192 x 2"}


def row(name: str, label: str, published: dict, **changes) -> dict:
    return {
        "name": name,
        "label": label,
        "status": "done",
        "training": TRAINING,
        "accuracy": {"linear": None, "attentive": None},
        "validation": {},
        "curve": None,
        "published": published,
    } | changes


def table(*rows: dict, directions: list | None = None, **changes) -> dict:
    return {
        "table": "3f",
        "title": "shape of the trunk",
        "note": "",
        "seeds": [0, 1, 2],
        "trained_on": "target",
        "losses_compare": True,
        "rows": list(rows),
        "directions": directions or [],
    } | changes


DEEP = {"linear": 68.8, "attentive": 77.9, "unconfirmed": True}
WIDE = {"linear": 70.0, "attentive": 78.2, "unconfirmed": False}


def test_our_mean_and_interval_stand_beside_the_papers_figure():
    seeds = {"attentive": summary({0: 70.0, 1: 71.0, 2: 72.0}), "linear": summary({0: 50.0})}
    lines = markdown(table(row("wide", "wide", WIDE, accuracy=seeds))).splitlines()
    (found,) = (line for line in lines if line.startswith("| wide"))
    cells = [cell.strip() for cell in found.strip("|").split("|")]
    assert cells[1:5] == ["50.0", "71.0 [68.5, 73.5]", "70.0", "78.2"]
    assert cells[5:] == ["3", "1,234,567", TRAINING["shape"]]


def test_figures_that_were_not_read_in_the_paper_are_marked():
    told = markdown(table(row("deep", "deep", DEEP), row("wide", "wide", WIDE)))
    assert "| 68.8 (unconfirmed) | 77.9 (unconfirmed) |" in told
    assert "| 70.0 | 78.2 |" in told


def test_every_row_has_as_many_cells_as_the_heading():
    losses = {"web-val": {"causal": summary({0: 1.0}), "prefix": summary({0: 1.1})}}
    missing = row("deep", "deep", DEEP, status="not run: no", training=None)
    missing["validation"] = {"web-val": {}}
    told = markdown(table(missing, row("wide", "wide", WIDE, validation=losses)))
    counts = {line.count("|") for line in told.splitlines() if line.startswith("|")}
    assert len(counts) == 1
    assert "loss on web-val, causal | loss on web-val, prefix" in told
    assert "- deep: not run: no" in told


def test_verdicts_are_counted_and_told_by_the_papers_labels():
    ours = {"value": -0.4, "low": -0.7, "high": -0.1, "n": 3}
    claim = {"better": "wide", "worse": "deep", "measure": "attentive", "points": 0.3}
    found = [claim | {"where": "unconfirmed", "ours": ours, "verdict": "disagrees"}]
    told = markdown(table(row("deep", "1 x 2", DEEP), row("wide", "2 x 1", WIDE), directions=found))
    assert "Of 1 pairs: 1 disagrees." in told
    assert "Each pair is judged by itself" in told
    assert (
        "- 2 x 1 before 1 x 2, attentive: disagrees; ours -0.4 [-0.7, -0.1], "
        "paper +0.3 (unconfirmed)"
    ) in told
