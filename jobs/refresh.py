"""`headrace refresh`: the newest snapshot and what is new since, as its child.

Old verdicts stand: a source is judged in the generation that brought it, against all before it.
Only what is new is measured; only new shards are written, and those from which something goes.
"""

from jobs import cluster, decide, drift, measure, write
from jobs.config import CurateConfig
from jobs.console import console
from jobs.decide import Decision
from jobs.holding import holding
from jobs.measure import Inputs
from jobs.record import recording
from pipeline.format import address
from pipeline.format.chain import published
from pipeline.format.errors import HeadraceError
from pipeline.format.retired import is_retired
from pipeline.format.snapshot import Snapshot, latest, read_snapshot
from pipeline.report.drift import lines


def run(
    config: CurateConfig,
    workers: int | None = None,
    rebase: bool = False,
    accept_drift: bool = False,
) -> Snapshot | None:
    """Publishes the child of the newest snapshot, or the first one; None if nothing is new.

    `rebase` decides everything anew, on what the sources hold now. Raises HeadraceError if the new
    images are too unlike the parent's (`gates`), unless `accept_drift`, and if another
    snapshot was published meanwhile.
    """
    parent = newest(config)
    with recording("refresh", config.dataset_url, config) as record:
        record.note(parent=parent.id if parent else None)
        with record.stage("list"):
            found = inputs(config, parent, rebase)
        if parent and not rebase and is_up_to_date(config, found, parent):
            _nothing(f"no source and no setting has changed since {parent.id}")
            return None
        with cluster.session(workers):
            measure.run(config, found, workers)
            decision = decide.run(config, found, workers)
            if parent and decision.id == parent.id:
                _nothing(f"every verdict is as in {parent.id}")
                return None
            if parent:
                with record.stage("gates"):
                    _pass_gates(config, found, decision, parent, workers, accept_drift)
            snapshot = write.run(config, found, decision, workers)
        if len(decision.heritage.gone):
            _tell_who_holds(snapshot)
    return snapshot


def newest(config: CurateConfig) -> Snapshot | None:
    """The snapshot that LATEST names, if anything was published."""
    name = latest(config.dataset_url)
    return read_snapshot(address.join(config.dataset_url, "snapshots", name)) if name else None


def inputs(config: CurateConfig, parent: Snapshot | None, rebase: bool) -> Inputs:
    """The pool, in generations. Raises HeadraceError if the parent's shards cannot stay."""
    if parent and not rebase:
        before, now = parent.config["write"]["alter"], config.identity["write"]["alter"]
        if before != now:
            raise HeadraceError(
                f"write.alter: {now} here, and {before} in {parent.url}, whose shards would stay "
                "as they are; keep it, or write everything anew with `headrace refresh --rebase`"
            )
    return measure.inputs(config, parent, rebase)


def is_up_to_date(config: CurateConfig, found: Inputs, parent: Snapshot) -> bool:
    """Whether nothing that a verdict depends on has changed: sources, settings, files, models."""
    same = decide.identity_of(config) == parent.config and found.families == parent.ledger
    return same and found.lineage.is_as_before


def _pass_gates(
    config: CurateConfig,
    found: Inputs,
    decision: Decision,
    parent: Snapshot,
    workers: int | None,
    accept: bool,
) -> None:
    """Shows how the new images compare with the parent's. Raises HeadraceError if they must not."""
    findings = drift.check(config, found, decision, parent, workers)
    page = address.join(config.dataset_url, "snapshots", decision.id, drift.PAGE)
    for line in lines(findings):
        console.print(line, markup=False, soft_wrap=True)
    out = [finding.name for finding in findings if finding.out]
    if out and not accept:
        raise HeadraceError(
            f"drift: {', '.join(out)} out of the band of `gates`; nothing was published: "
            f"look at {page}, then mend the source, widen the band, or run it again with "
            "--accept-drift"
        )


def _tell_who_holds(snapshot: Snapshot) -> None:
    """After takedowns: they are out of this snapshot, and erased when no older one has them."""
    others = [one for one in published(snapshot.dataset) if one.id != snapshot.id]
    held = holding(snapshot, [one for one in others if not is_retired(one.url)])
    if held:
        names = ", ".join(f"{one.snapshot} ({one.images:,})" for one in held)
        retire = " ".join(f"--retire {one.snapshot}" for one in held)
        console.print(
            f"refresh: images that were taken down are still in the shards of {names}; to erase "
            f"them: headrace prune {snapshot.dataset} {retire} --delete",
            soft_wrap=True,
        )


def _nothing(why: str) -> None:
    console.print(f"refresh: nothing to publish: {why}", soft_wrap=True)


def dry_run(config: CurateConfig, rebase: bool = False) -> None:
    """Says what a refresh would do. Lists and fingerprints; reads no image and writes nothing."""
    parent = newest(config)
    found = inputs(config, parent, rebase)
    lineage, todo = found.lineage, measure.missing(config, found)
    console.print(f"parent      {parent.url if parent else 'none: this is the first snapshot'}")
    console.print(f"pool        {len(lineage.parts)} parts, {len(lineage.new)} of them new")
    for word, parts in (("gone", lineage.gone - lineage.replaced), ("replaced", lineage.replaced)):
        if parts:
            console.print(f"{word:11} {len(parts)} parts of the parent, whose facts are kept")
    for family, missing in todo.items():
        nbytes = sum(part.nbytes for part in missing)
        console.print(f"measure     {family}: {len(missing)} parts to do ({nbytes / 1e6:,.1f} MB)")
    if parent and not rebase and is_up_to_date(config, found, parent):
        console.print("nothing is new: nothing would be published")
    else:
        console.print("decide and write follow from what is measured; nothing was written")
