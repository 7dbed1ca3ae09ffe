"""One training of a sweep, its losses and its probes: what is done already is found done."""

import json
from typing import Any

import torch

from jobs import train as training
from jobs.sweep.plan import Probe, Unit
from pipeline.format import store, writing
from trainer import checkpoint, compute, distributed
from trainer.aim import learner
from trainer.config import TrainConfig


def do(unit: Unit) -> None:
    """Does what is left of it; killed and called again, it goes on. Raises as its parts do."""
    config = unit.config
    if not is_trained(config):
        training.run(config)
    if lacking := [name for name, url in unit.validation.items() if losses(unit, name) is None]:
        _validate(unit, config, lacking)
    for probe in unit.probes:
        if results(probe) is None:
            _run_probe(probe)


def is_done(unit: Unit) -> bool:
    """Whether nothing is left of it."""
    validated = (losses(unit, name) is not None for name in unit.validation)
    probed = (results(probe) is not None for probe in unit.probes)
    return is_trained(unit.config) and all(validated) and all(probed)


def is_trained(config: TrainConfig) -> bool:
    """Whether the run's last step is saved, and with it what was validated."""
    newest = checkpoint.newest(config.where)
    return newest is not None and checkpoint.read_state(newest)["step"] == config.steps


def losses(unit: Unit, name: str) -> dict[str, float] | None:
    """Form → mean loss on a validation set, if it was taken on the snapshot that is asked for."""
    found = _read(f"{unit.folder}/losses-{name}.json")
    return found["means"] if found and found["snapshot"] == unit.validation[name] else None


def results(probe: Probe) -> dict[str, Any] | None:
    """A probe's figures by its kind, once it has ended."""
    found = _read(f"{probe.run}/results.json")
    return found["figures"] if found else None


def _validate(unit: Unit, config: TrainConfig, names: list[str]) -> None:
    """In the forms and the precision of a training's own validation, one set after the other."""
    if config.threads:
        torch.set_num_threads(config.threads)
    newest = checkpoint.newest(config.where) or ""
    for name in names:
        on = config.model_copy(update={"validation": unit.validation[name]})
        with distributed.join() as world:
            taught = learner(on, world, [])
            assert taught.validation
            checkpoint.load_weights(newest, taught.model)
            with compute.autocast(on.compute, world.device):
                means = taught.validation.losses(taught.model, lambda: None).means
        found = {"snapshot": unit.validation[name], "means": means}
        _write(f"{unit.folder}/losses-{name}.json", found)


def _run_probe(probe: Probe) -> None:
    from jobs.evaluation import training as evaluation  # what no sweep without probes needs

    evaluation.run(probe.fields, kind="probe")


def _read(path: str) -> dict[str, Any] | None:
    if not store.exists(path):
        return None
    found: dict[str, Any] = json.loads(store.read_bytes(path))
    return found


def _write(path: str, found: dict[str, Any]) -> None:
    writing.publish(path, json.dumps(found, indent=1).encode() + b"\n")
