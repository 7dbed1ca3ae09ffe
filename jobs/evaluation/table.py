"""`headrace eval table`: trunks on AIM's 15 sets, beside what the paper has of others.

<table>/sets/<set>/           labelled sets that were no datasets yet, made into some
<table>/<trunk>/<set>/        one probe's run; what is done is found done
<table>/table.json            every figure
<table>/table.md              the same as markdown
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from jobs.config import load
from jobs.console import console
from jobs.evaluation import loading, results, tabled, training
from jobs.evaluation.published import BENCHMARKS
from jobs.evaluation.sets import Labelled
from jobs.evaluation.tabling import KIND, failures, figures_of
from jobs.train import Ended
from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings
from trainer.control import STOPPED

Fields = dict[str, Any]

TOLD = ("run", "weights", "train", "test", "sets", "classes", "layers", "kinds")
"""Fields of a probe that the table fills in itself."""


def _own_words(fields: Fields) -> Fields:
    """Raises ValueError for what is not a probe's to say in a table."""
    if twice := sorted(fields.keys() & set(TOLD)):
        raise ValueError(f"{twice[0]} is filled in for each set by the table; leave it out here")
    return fields


class SetConfig(Settings):
    """One of the 15 sets, as you have it."""

    train: Labelled
    """A dataset whose captions are classes, or a source of one."""

    test: Labelled
    """The same, to judge on."""

    probe: Fields = Field(default={})
    """Fields of the probe that are otherwise for this set than under `probe`."""

    _probe = field_validator("probe")(_own_words)


class TableConfig(Settings):
    """Trunks, sets, and the probe that all share. Relative paths start at the current folder."""

    table: str = Field(min_length=1)
    """Folder of the probes' runs and of the table; the same folder resumes."""

    weights: dict[str, str] = Field(min_length=1)
    """Trunks by names of your choice: a run's folder, a checkpoint, an export, or a file of
    ml-aim's."""

    sets: dict[str, SetConfig] = Field(min_length=1)
    """By the table's own names, in1k to infographic: those that you have, of the 15."""

    layers: Literal["last", "best", "search"] | tuple[int, ...] = "last"
    """Blocks whose outputs are averaged, as in the probe's config."""

    probe: Fields
    """The probe's other fields: stream, optimiser, epochs, grid and so on."""

    _probe = field_validator("probe")(_own_words)

    @field_validator("weights")
    @classmethod
    def _names_make_folders(cls, found: dict[str, str]) -> dict[str, str]:
        for name in found:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == "sets":
                raise ValueError(f"{name!r}: use letters, digits, . _ - and no name `sets`")
        return found

    @field_validator("sets")
    @classmethod
    def _names_are_the_papers(cls, found: dict[str, SetConfig]) -> dict[str, SetConfig]:
        if unknown := sorted(found.keys() - BENCHMARKS.keys()):
            raise ValueError(f"no set {unknown[0]!r} in the table; use {', '.join(BENCHMARKS)}")
        return found


class Probe(NamedTuple):
    """One cell of the table."""

    trunk: str
    set: str
    fields: Fields
    """Of its config."""


@dataclass(frozen=True)
class Table:
    """A finished table."""

    url: str
    """Of table.json."""
    markdown: str
    """URL of table.md."""
    figures: Fields
    """What is in table.json."""
    failed: int
    """Probes that failed; a command ends with 1 if there are any."""


def run(path: str | TableConfig, nproc: int = 1, ray: bool = False) -> Table:
    """Runs each probe that is not done, and writes table.json and table.md.

    A probe that fails leaves its reason in its cell, and the others go on; the same command tries
    it again. The same results give the same bytes. Raises HeadraceError for a faulty config, and
    Ended where a signal stopped a probe.
    """
    config = checked(path)
    found: dict[str, dict[str, Fields | str]] = {trunk: {} for trunk in config.weights}
    for one in probes(config):
        found[one.trunk][one.set] = _result(one, nproc, ray)
    return _publish(config.table, figures_of(found, config.layers))


def dry_run(path: str | TableConfig) -> None:
    """Says which probes there are, and which of them are done. Runs and writes nothing."""
    for one in probes(checked(path)):
        state = "done " if _is_done(one) else "to do"
        console.print(f"{state}  {one.fields['run']}", markup=False, soft_wrap=True)


def show(found: Table) -> None:
    """Prints the table and its notes."""
    for one in tabled.tables(found.figures):
        console.print(one, soft_wrap=isinstance(one, str))


def probes(config: TableConfig) -> Iterator[Probe]:
    """By trunk, then set in the order of the table."""
    for trunk, weights in config.weights.items():
        for key in (key for key in BENCHMARKS if key in config.sets):
            one = config.sets[key]
            fields = merged(config.probe, one.probe)
            told = {
                "run": f"{config.table}/{trunk}/{key}",
                "weights": weights,
                "sets": f"{config.table}/sets/{key}",
                "layers": config.layers if isinstance(config.layers, str) else [*config.layers],
                "kinds": [KIND],
            }
            sets = one.model_dump(mode="json", include={"train", "test"})
            yield Probe(trunk, key, fields | told | sets)


def merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Fields:
    """The shared fields with a set's own instead, field by field within sections."""
    inner = {
        name: merged(shared[name], value)
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(shared.get(name), dict)
    }
    return {**shared, **own, **inner}


def checked(path: str | TableConfig) -> TableConfig:
    """The config, each probe's own checked as well. Raises HeadraceError, of the first that is
    faulty with a line for each fault, and the probe's run in the place of the file."""
    config = load(path, TableConfig) if isinstance(path, str) else path
    for one in probes(config):
        loading.load(one.fields, "probe")
    return config


def _result(one: Probe, nproc: int, ray: bool) -> Fields | str:
    """What its probe found, or the line that says why there is nothing."""
    console.print(f"table: {one.trunk}, {BENCHMARKS[one.set].title}", markup=False)
    try:
        return training.run(one.fields, "probe", nproc, ray)
    except HeadraceError as error:
        if isinstance(error, Ended) and error.code == STOPPED:
            raise
        why = " ".join(str(error).split())
        console.print(f"table: {one.trunk}, {one.set}: failed: {why}", markup=False, soft_wrap=True)
        return why


def _is_done(one: Probe) -> bool:
    return (Path(one.fields["run"]) / results.NAME).exists()


def _publish(folder: str, figures: Fields) -> Table:
    url, shown = (address.join(address.absolute(folder), f"table.{end}") for end in ("json", "md"))
    writing.publish(shown, tabled.markdown(figures).encode())
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    writing.publish(url, text.encode("utf-8", "replace") + b"\n")
    return Table(url, shown, figures, len(list(failures(figures))))
