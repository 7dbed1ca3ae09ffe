"""`headrace scaling`: sizes and schedules of AIM side by side (AIM figures 1, 4, 5, 6 and 7).

    <scaling>/runs/<name>/      the trainings that are run for it, as `headrace train` leaves them
    <scaling>/probes/<name>/    their probes, as `headrace eval probe` leaves them
    <scaling>/sets/             the labelled sets of these, if they had to be made
    <scaling>/scaling.json      every figure
    <scaling>/scaling.html      the same as a page

Only a run's folder is read, so the runs may have been made anywhere. What is run here resumes where
it was killed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.console import console
from jobs.scaling import figures, reading, results
from jobs.scaling.config import ScalingConfig
from pipeline.format import writing


@dataclass(frozen=True)
class Scaling:
    """A finished study."""

    url: str
    """Path of scaling.json."""
    page: str
    """Path of scaling.html."""
    figures: dict[str, Any]
    """What is in scaling.json; the head of figures.py has its fields."""


def run(config: str | ScalingConfig, ray: bool = False, dry_run: bool = False) -> Scaling | None:
    """Trains and probes what is not done yet, and writes scaling.json and scaling.html.

    `config` may be the path of a YAML file. Trainings go one after the other, each on `nproc`
    processes, on the cluster with `ray`. The same runs give the same bytes. With `dry_run` it only
    says what would be run, and returns None. Raises HeadraceError if the probe's config is faulty,
    if a run or a result cannot be read, or losses measure different things; and what a training
    raises: `jobs.train.Ended` if a signal stopped it.
    """
    if isinstance(config, str):
        from jobs.config import load

        config = load(config, ScalingConfig)
    _check_probe(config)
    if dry_run:
        _tell(config)
        return None
    _train(config, ray)
    _probe(config, ray)
    return _publish(config, _figures(config))


def _tell(config: ScalingConfig) -> None:
    for name, folder in config.folders.items():
        training = config.trainings.get(name)
        told = f"train for {training.steps:,} steps in" if training else "read"
        console.print(f"{name:16} {told} {folder}", markup=False, soft_wrap=True)
    for name, folder in config.probes.items():
        console.print(f"{name:16} probe in {folder}", markup=False, soft_wrap=True)
    console.print("nothing was written")


def _train(config: ScalingConfig, ray: bool) -> None:
    from jobs import train  # loads torch's launcher

    for training in config.trainings.values():
        train.run(training, config.nproc, ray=ray)


def _check_probe(config: ScalingConfig) -> None:
    """Before the first training; the current folder stands for weights that are not there yet."""
    if config.probe is not None:
        from jobs.evaluation import loading

        told = {"run": "probe", "weights": "."}
        loading.load(config.probe | told, "probe")


def _probe(config: ScalingConfig, ray: bool) -> None:
    for name, folder in config.probes.items():
        from jobs.evaluation import training

        sets = {"sets": str(Path(config.scaling, "sets"))}  # one copy for all probes
        where = {"run": str(folder), "weights": str(config.folders[name])}
        training.run(sets | (config.probe or {}) | where, "probe", config.nproc, ray)


def _figures(config: ScalingConfig) -> dict[str, Any]:
    evaluated = {
        name: [Path(folder) for folder in config.evaluations.get(name, ())]
        + [config.probes[name] for _ in range(name in config.probes)]
        for name in config.runs
    }
    runs = [reading.read(name, folder) for name, folder in config.folders.items()]
    found = {
        run["run"]: [results.read(folder, run["model"]) for folder in evaluated[run["run"]]]
        for run in runs
    }
    return {
        "config": config.model_dump(mode="json", exclude={"scaling", "nproc"}),
        **figures.gather(runs, found),
    }


def _publish(config: ScalingConfig, found: dict[str, Any]) -> Scaling:
    from pipeline.report import scaling as page  # loads matplotlib

    folder = Path(config.scaling)
    folder.mkdir(parents=True, exist_ok=True)
    url, shown = str(folder / "scaling.json"), str(folder / "scaling.html")
    writing.publish(shown, page.render(found))
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    writing.publish(url, text.encode("utf-8", "replace") + b"\n")
    return Scaling(url, shown, found)
