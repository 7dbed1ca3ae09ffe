"""A benchmark table's figures for the eye: as markdown, and on a console."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from jobs.evaluation.published import BENCHMARKS, PAPER, SIZES
from jobs.evaluation.tabling import failures

Figures = Mapping[str, Any]
Rows = list[list[str]]

ABSENT = "-"
FAILED = "failed"
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def markdown(figures: Figures) -> str:
    """The table, its notes, and the one of IN-1k."""
    names = ", ".join(row["name"] for row in figures["ours"])
    parts = [f"# {names} beside {PAPER}, Table 6", _ruled(heads(figures), rows(figures))]
    parts.append("\n".join(f"- {_cell(note)}" for note in notes(figures)))
    if figures["in1k"]:
        parts += ["## IN-1k: Tables 7 and 8", _ruled(in1k_heads(figures), in1k_rows(figures))]
    return "\n\n".join(parts) + "\n"


def tables(figures: Figures) -> Iterator[Table | str]:
    """For a console: a line for each set, ours beside AIM's alone, as 12 columns are too many."""
    aims = [row for row in figures["published"] if row["name"].startswith("AIM")]
    known = rows({**figures, "published": aims})
    head, *sets = zip(*[heads(figures), *known], strict=True)
    trunks = [name.removesuffix(" (DFN-2B+)") for name in head[1:]]  # all of AIM's are
    yield _shown("percent right on 15 sets", ["set", *trunks], sets)
    yield from (escape(note) for note in notes(figures))
    if figures["in1k"]:
        yield _shown("IN-1k", in1k_heads(figures), in1k_rows(figures))


def heads(figures: Figures) -> list[str]:
    """Of the columns; a raised number refers to the notes."""
    numbers = _numbered(figures)
    titles = [one.title + numbers.get(key, "") for key, one in BENCHMARKS.items()]
    return ["trunk", *titles, "Avg", *([_same(figures)] if _partly(figures) else [])]


def rows(figures: Figures) -> Rows:
    """Ours, each cell with its interval, then the published ones; as many cells as `heads`."""
    return [_ours(figures, row) for row in figures["ours"]] + [
        _theirs(figures, row) for row in figures["published"]
    ]


def _theirs(figures: Figures, row: Figures) -> list[str]:
    name, means = f"{row['name']} ({row['trunk']})", _means(figures, row, _number(row["mean"]))
    return [name, *map(_number, row["cells"].values()), *means]


def _ours(figures: Figures, row: Figures) -> list[str]:
    mean, of = _number(row["mean"]), row["mean_of"]
    told = f"{mean} (mean of {of} of {len(BENCHMARKS)})" if 0 < of < len(BENCHMARKS) else mean
    return [row["name"], *map(_interval, row["cells"].values()), *_means(figures, row, told)]


def _means(figures: Figures, row: Figures, mean: str) -> list[str]:
    return [mean, _number(row["mean_of_same"])] if _partly(figures) else [mean]


def _partly(figures: Figures) -> bool:
    """Whether the means of the paper are over more sets than ours, and there are ours."""
    return 0 < len(figures["same"]) < len(BENCHMARKS)


def _same(figures: Figures) -> str:
    return f"Avg of our {len(figures['same'])}"


def notes(figures: Figures) -> list[str]:
    """What must be known to read the table: one line each."""
    numbers = _numbered(figures)
    found = [
        "Percent right (top-1) of attentive probes, with 95% intervals for the draw of test images",
        f"Published: {PAPER}, Table 6; its IN-1k of DINO is restored from the mean of its row",
        "A dash: no such set was named; a mean is over the sets that are there",
    ]
    if _partly(figures):
        titles = ", ".join(BENCHMARKS[key].title for key in figures["same"]) or "none"
        found.append(f"{_same(figures)}: of every row, over the sets that we have: {titles}")
    if chosen := _chosen_on_test(figures):
        found.append(f"Rate and decay were chosen on the test set itself, which flatters: {chosen}")
    if numbers:
        found.append("What the paper has of a set is from AIMv2's list of sizes, by the same team")
    if figures["in1k"]:
        found.append(
            "LoRA: the paper's alone; `headrace eval lora` trains yours, which is no probe"
        )
    found += [f"{numbers[key]} {_title(key)}: {_sets(figures)[key]}" for key in numbers]
    found += [f"{trunk}, {title}: {FAILED}: {why}" for trunk, title, why in failures(figures)]
    return found


def _title(key: str) -> str:
    return BENCHMARKS[key].title


def _sets(figures: Figures) -> dict[str, str]:
    """Footnotes by set."""
    return {key: one["footnote"] for key, one in figures["sets"].items() if one["footnote"]}


def _numbered(figures: Figures) -> dict[str, str]:
    return {key: str(n).translate(RAISED) for n, key in enumerate(_sets(figures), 1)}


def _chosen_on_test(figures: Figures) -> str:
    cells = [row["cells"] for row in figures["ours"]]
    return ", ".join(
        one.title
        for key, one in BENCHMARKS.items()
        if any((row[key] or {}).get("chosen_on") == "test" for row in cells)
    )


def in1k_heads(figures: Figures) -> list[str]:
    """Of the columns of Tables 7 and 8: our trunks, then AIM's."""
    return ["IN-1k", *(row["name"] for row in figures["ours"]), *(f"AIM-{size}" for size in SIZES)]


def in1k_rows(figures: Figures) -> Rows:
    """A row for each thing that is trained."""
    return [
        [row["trained"], *map(_interval, row["ours"].values())]
        + [_number(value) for value in row["published"].values()]
        for row in figures["in1k"]
    ]


def _interval(cell: Figures | None) -> str:
    if cell is None:
        return ABSENT
    if "failed" in cell:
        return FAILED
    return f"{cell['value']:.1f} ({cell['low']:.1f} to {cell['high']:.1f})"


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def _ruled(heads: list[str], rows: Rows) -> str:
    """A table of markdown."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in [heads, rule, *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _shown(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """What stands in brackets goes below: columns are narrow."""
    table = Table(title=title)
    table.add_column(heads[0], no_wrap=True)
    for head in heads[1:]:
        table.add_column(escape(head.replace(" ", "\n")), justify="right")
    for row in rows:
        table.add_row(*(escape(_below(cell)) for cell in row))
    return table


def _below(text: str) -> str:
    return text.replace(" (", "\n(")
