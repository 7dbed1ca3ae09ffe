"""What a sweep has to train and to probe: rows times seeds, each training once.

    <sweep>/mixtures/<data>-<digest>.json       what is trained on, pinned when first needed
    <sweep>/codebooks/<digest>.npy              of the k-means row
    <sweep>/trainings/<digest>/seed-<n>/aim     a run, as `headrace train` leaves it
                                       /probe-<digest>      as `headrace eval probe` does
                                       /losses-<set>.json   on a further validation set
    <sweep>/<ablation>/table.json, table.md, curves.svg

A training lies under the digest of all that its weights depend on but the seed. So rows that are
the same training share it, also across ablations, and a changed config begins new ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from jobs.sweep.config import CHANGE_NO_BATCH, SweepConfig, digest
from jobs.sweep.rows import ABLATIONS, Ablation, Row
from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig


class Probe(NamedTuple):
    """A probe of a training's end."""

    run: str
    fields: dict[str, Any]
    """Of `headrace eval probe`, with run, weights and seeds."""


@dataclass(frozen=True)
class Unit:
    """A training with one seed, and what is asked of its end: what one task does."""

    name: str
    """Of its first row, for a person."""
    seed: int
    folder: str
    train: dict[str, Any]
    """Fields of a TrainConfig, for JSON."""
    probes: tuple[Probe, ...]
    validation: dict[str, str]
    """Name → snapshot."""

    @property
    def config(self) -> TrainConfig:
        """The training."""
        return TrainConfig.model_validate(self.train)


@dataclass(frozen=True)
class Planned:
    """A row with its trainings."""

    row: Row
    config: TrainConfig | None
    """Of the first seed; None for a row that cannot be run."""
    units: tuple[Unit, ...]
    """One a seed, each with this row's probe alone."""


def ablation(name: str) -> Ablation:
    """Raises HeadraceError for a name that no ablation has."""
    if name not in ABLATIONS:
        raise HeadraceError(f"{name}: no ablation of that name; there are {', '.join(ABLATIONS)}")
    return ABLATIONS[name]


def planned(name: str, config: SweepConfig, validation: dict[str, str]) -> list[Planned]:
    """The rows of an ablation in the paper's order; `validation` names snapshots, not datasets.

    Raises HeadraceError for a row that the base training does not allow.
    """
    return [_planned(name, row, config, validation) for row in ablation(name).rows(config)]


def units(rows: Iterable[Planned]) -> list[Unit]:
    """What is to be done for these rows: each training once, with the probes of all its rows."""
    found: dict[str, Unit] = {}
    for unit in (unit for row in rows for unit in row.units):
        known = found.setdefault(unit.folder, unit)
        probes = {probe.run: probe for probe in (*known.probes, *unit.probes)}
        found[unit.folder] = Unit(**vars(known) | {"probes": tuple(probes.values())})
    return list(found.values())


def _planned(name: str, row: Row, config: SweepConfig, validation: dict[str, str]) -> Planned:
    if row.missing:
        return Planned(row, None, ())
    made = tuple(_unit(name, row, seed, config, validation) for seed in config.seeds)
    return Planned(row, made[0].config, made)


def _unit(name: str, row: Row, seed: int, config: SweepConfig, validation: dict[str, str]) -> Unit:
    fields = merged(config.train.written, row.train)
    fields = merged(fields, {"seed": seed, "stream": {"seed": seed}, "threads": config.threads})
    fields["mixture"] = config.mixture(row.data or config.train_on)
    checked = _checked(name, row, fields | {"run": "unnamed"})
    folder = f"{config.folder}/trainings/{identity(checked)}/seed-{seed}"
    return Unit(
        name=row.name,
        seed=seed,
        folder=folder,
        train=fields | {"run": f"{folder}/aim"},
        probes=_probes(row, seed, config, folder),
        validation=validation,
    )


def _checked(name: str, row: Row, fields: dict[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise HeadraceError(
            f"train: the row {row.name} of {name} cannot be made of it: "
            f"{f'{where}: ' * bool(where)}{message}"
        ) from error


def _probes(row: Row, seed: int, config: SweepConfig, folder: str) -> tuple[Probe, ...]:
    if config.probe is None:
        return ()
    asked = merged({"attention": "bidirectional", "threads": config.threads}, config.probe)
    asked = merged(asked, {**row.probe, "seed": seed, "stream": {"seed": seed}})
    run = f"{folder}/probe-{digest(asked)[:12]}"
    return (Probe(run, {**asked, "run": run, "weights": f"{folder}/aim"}),)


def identity(config: TrainConfig) -> str:
    """What its weights and its curve depend on, but for the seed: 12 hex digits."""
    told = {key: value for key, value in config.identity.items() if key != "seed"}
    stream = config.stream.model_dump(mode="json", exclude=CHANGE_NO_BATCH)
    source = config.mixture.rpartition("/")[2]
    more = {"stream": stream, "mixture": source, "validation": config.validation}
    return digest(told | more)[:12]


def merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Fields with changes, section by section; where one of both is no section, the change."""
    out = dict(fields)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out
