"""`headrace eval probe` and `eval lora`: labelled sets made, heads trained on them, results told.

    <run>/sets/<train|test>    the sets as datasets, if they were none
    <run>/search/              probes: the run that searched the layers, if it was asked for
    <run>/probe-<kind>.safetensors    probes: the chosen head; see trainer/probing/export.py
    <run>/results.json         see results.py

Each step that is done is found done, so a killed evaluation goes on when it is run again.
"""

from typing import Any

from jobs import cluster, train
from jobs.console import console
from jobs.evaluation import loading, results, sets
from jobs.evaluation.loading import Asked, Fields, Kind
from jobs.evaluation.sets import Labelled
from pipeline.format import address
from pipeline.format.snapshot import Snapshot, read_snapshot
from trainer.config import RunConfig

SETS = ("train", "test")


def run(where: str | Fields, kind: Kind, nproc: int = 1, ray: bool = False) -> dict[str, Any]:
    """Makes the sets, trains on `nproc` ranks as `jobs.train.run` does, writes results.json.

    `where` is a YAML file, or its fields. Returns what is in results.json: the same config gives
    the same bytes, killed on the way or not. Raises HeadraceError for faults of the config, before
    any work, and for sets that cannot be; else as the training does.
    """
    asked = loading.load(where, kind)
    train_set, test_set = _made(asked)
    config = loading.complete(asked, train_set, test_set, _classes(asked, train_set, test_set))
    config, searched = _searched(config, nproc, ray)
    train.run(config, nproc, ray=ray)
    if kind == "probe":
        _write_heads(config)
    return results.write(config.run, results.results_of(config, kind) | searched)


def _write_heads(config: Any) -> None:
    """The chosen head of each kind, under the names of Apple's release."""
    from trainer.probing.choosing import chosen
    from trainer.probing.export import write_head

    probes = results.last_probes(config.run)
    for kind in config.kinds:
        name, _ = chosen(probes, kind)
        write_head(config.where, name, f"{config.run}/probe-{kind}.safetensors")


def _searched(config: Any, nproc: int, ray: bool) -> tuple[RunConfig, dict[str, Any]]:
    """The config with the layers that a run of its own found best, and what that run found."""
    searching = config.searching() if hasattr(config, "searching") else None
    if searching is None:
        return config, {}
    from trainer.probing.choosing import best_window

    train.run(searching, nproc, ray=ray)
    probes = results.last_probes(searching.run)
    return config.found(best_window(probes)), {"search": results.probe_figures(probes)}


def _made(asked: Asked) -> tuple[Snapshot, Snapshot]:
    """Both sets, made where they are none: on one Ray, which is not started for nothing."""
    both = {name: (_given(asked, name), asked.url_of(name)) for name in SETS}
    found = {name: sets.published(*one) for name, one in both.items()}
    if not all(found.values()):
        with cluster.session():
            found = {name: read_snapshot(sets.labelled(*one)) for name, one in both.items()}
    made = [one for one in found.values() if one]
    return made[0], made[1]


def _given(asked: Asked, name: str) -> Labelled:
    given: Labelled = getattr(asked.sets, name)
    return given


def _classes(asked: Asked, train_set: Snapshot, test_set: Snapshot) -> tuple[str, ...]:
    """Those of the training set. Raises HeadraceError if the test set has others."""
    known = sets.classes(train_set.url)
    sets.check_foreign(f"{asked.path}: test", known, sets.classes(test_set.url))
    return known


def dry_run(where: str | Fields, kind: Kind) -> None:
    """Says what a run would do. Lists sources; reads no image and writes nothing."""
    asked = loading.load(where, kind)
    found = {name: sets.published(_given(asked, name), asked.url_of(name)) for name in SETS}
    for name, snapshot in found.items():
        told = f"{snapshot.samples:,} images, {snapshot.url}" if snapshot else _to_make(asked, name)
        _say(name, told)
    train_set, test_set = found["train"], found["test"]
    if train_set and test_set:
        _say("classes", f"{len(_classes(asked, train_set, test_set)):,}")
    if train_set:
        _say("steps", f"{loading.steps_of(asked, train_set.samples):,} of {_batch(asked)}")
    else:
        _say("steps", f"{asked.sets.epochs:g} epochs in batches of {_batch(asked)}")
    if kind == "probe":
        _say("heads", _heads(asked.draft))
    console.print(f"results go to {asked.draft.run}/{results.NAME}; nothing was written")


def _to_make(asked: Asked, name: str) -> str:
    given = _given(asked, name)
    assert not isinstance(given, str)
    return f"{address.redact(given.url)}, to be made a dataset in {asked.url_of(name)}"


def _batch(asked: Asked) -> str:
    return f"{asked.draft.stream.batch:,} images"


def _heads(draft: Any) -> str:
    kinds, rates, decays = draft.kinds, draft.grid.lr, draft.grid.weight_decay
    product = f"{len(kinds)} kinds x {len(rates)} rates x {len(decays)} decays"
    searched = ", after a search of the layers" if draft.layers == "search" else ""
    return f"{len(kinds) * len(rates) * len(decays)} ({product}) in one pass{searched}"


def _say(what: str, told: str) -> None:
    console.print(f"{what:8} {told}", markup=False, soft_wrap=True)
