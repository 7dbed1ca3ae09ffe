"""An ablation's figures as Markdown, in the layout of the paper's table."""

from collections.abc import Iterable, Iterator
from typing import Any

from jobs.sweep.directions import ABSENT
from jobs.sweep.published import ATTENTIVE, LINEAR, LOSS

ABSENCE = "-"


def markdown(table: dict[str, Any]) -> str:
    """The rows, what they say of the paper's order, and whether a loss turns up again."""
    return "\n".join(_lines(table)) + "\n"


def _lines(table: dict[str, Any]) -> Iterator[str]:
    on = f", on {table['trained_on']}" if table["trained_on"] else ""
    yield f"# Table {table['table']}: {table['title']}{on}"
    yield ""
    seeds = ", ".join(map(str, table["seeds"]))
    yield f"Means over seeds {seeds}, with 95% intervals by Student's t; top-1 in percent."
    if table["note"]:
        yield table["note"]
    yield ""
    yield from _grid(_columns(table), [_cells(table, row) for row in table["rows"]])
    yield ""
    for row in table["rows"]:
        if row["status"] != "done":
            yield f"- {row['label']}: {row['status']}"
    yield ""
    yield from _direction(table)
    yield from _turns(table)


def _kinds(table: dict[str, Any]) -> list[str]:
    """Of probes, in the paper's order, that the paper or we have."""

    def is_there(kind: str) -> bool:
        return any(row["published"][kind] or row["accuracy"][kind] for row in table["rows"])

    return [kind for kind in (LINEAR, ATTENTIVE) if is_there(kind)]


def _forms(table: dict[str, Any]) -> list[tuple[str, str]]:
    """(set, form) of every validation loss that a row has."""
    found: dict[tuple[str, str], None] = {}
    for row in table["rows"]:
        for name, forms in row["validation"].items():
            found |= dict.fromkeys((name, form) for form in forms)
    return list(found)


def _columns(table: dict[str, Any]) -> list[str]:
    kinds = _kinds(table)
    losses = [f"loss on {name}, {form}" for name, form in _forms(table)]
    shape = ["parameters", "model"]
    return ["", *kinds, *(f"paper's {kind}" for kind in kinds), *losses, "n", *shape]


def _cells(table: dict[str, Any], row: dict[str, Any]) -> list[str]:
    kinds, paper, training = _kinds(table), row["published"], row["training"]
    mark = " (unconfirmed)" if paper["unconfirmed"] else ""
    counts = [found["n"] for found in row["accuracy"].values() if found]
    counts += [len(row["curve"]["seeds"])] if row["curve"] else []
    return [
        row["label"],
        *(_interval(row["accuracy"][kind], 1) for kind in kinds),
        *(f"{paper[kind]}{mark}" if paper[kind] else ABSENCE for kind in kinds),
        *(_interval(row["validation"][name].get(form), 4) for name, form in _forms(table)),
        str(max(counts, default=0)),
        *((f"{training['parameters']:,}", training["shape"]) if training else (ABSENCE, ABSENCE)),
    ]


def _interval(found: dict[str, Any] | None, digits: int) -> str:
    if found is None:
        return ABSENCE
    value = f"{found['value']:.{digits}f}"
    if found["low"] is None:
        return value
    return f"{value} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _grid(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """The first and the last column are words, the others figures."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 2)} --- |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _direction(table: dict[str, Any]) -> Iterator[str]:
    found = table["directions"]
    counts = {claim["verdict"]: 0 for claim in found}
    for claim in found:
        counts[claim["verdict"]] += 1
    labels = {row["name"]: row["label"] for row in table["rows"]}
    yield "## Direction"
    yield ""
    yield f"Of {len(found)} pairs: {'; '.join(f'{n} {v}' for v, n in sorted(counts.items()))}."
    yield "A difference is taken seed by seed; it is noise where the interval of its mean holds 0."
    yield (
        "Each pair is judged by itself: of pairs that do not differ, one in twenty seems to. "
        "Two or three seeds tell large differences alone."
    )
    yield ""
    for claim in found:
        if claim["verdict"] != ABSENT:
            yield f"- {_claimed(claim, labels)}"
    yield ""


def _claimed(claim: dict[str, Any], labels: dict[str, str]) -> str:
    digits = 4 if claim["measure"] == LOSS else 1
    ours = _interval(claim["ours"], digits)
    paper = claim["where"] if claim["points"] is None else f"{claim['points']:+.1f}"
    mark = " (unconfirmed)" if claim["where"] == "unconfirmed" else ""
    names = f"{labels[claim['better']]} before {labels[claim['worse']]}"
    return f"{names}, {claim['measure']}: {claim['verdict']}; ours {ours}, paper {paper}{mark}"


def _turns(table: dict[str, Any]) -> Iterator[str]:
    found = [row for row in table["rows"] if row["curve"]]
    if not found:
        return
    yield "## Validation loss by step"
    yield ""
    if not table["losses_compare"]:
        yield "Losses of different rows answer different questions and cannot be compared."
        yield ""
    for row in found:
        up = row["curve"]["turns_up"]
        rise = _interval(up["rise"], 4)
        yield (
            f"- {row['label']}: turns up again: {up['answer']}; best at step {up['best_step']} of "
            f"{up['last_step']}, rise since then {rise}"
        )
