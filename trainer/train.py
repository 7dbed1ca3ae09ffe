"""A training: opened, begun or resumed, and run by the loop; the same on one process and on many.

    <run>/config.json         the resolved config, with which it went on last
    <run>/origin.json         the code and the sources that it began with
    <run>/lock                there while it is trained; see stream/lock.py
    <run>/metrics.jsonl       losses, rates, shares, digests; docs/metrics.md has the fields
    <run>/delivered.txt       a digest of what each step was fed; see proof.py
    <run>/quarantine.jsonl    the damaged samples that were met
    <run>/nonfinite.jsonl     the samples of updates that were skipped; see skipping.py
    <run>/hangs/              where every rank stood when nothing went on; see watchdog.py
    <run>/checkpoints/        see checkpoint/; `checkpoints` may name another place
    <run>/pictures/           predictions on fixed validation images

What it learns is its config's `Learner`. The state of a run is its step: stream, learning rate and
what is asked of a batch are pure functions of it. So a run that was killed and resumed gives the
bits of one that was not.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from trainer import checkpoint, distributed, fork, origin, tensorboard
from trainer.checkpoint import Saver
from trainer.config import RunConfig
from trainer.control import Control
from trainer.delivered import Account, Delivered, from_fields
from trainer.distributed import World
from trainer.log import Progress
from trainer.loop import loop, save
from trainer.optimiser import build_optimiser
from trainer.run import Run
from trainer.skipping import Skipped, Skipping
from trainer.snapshots import Snapshots, forgetting
from trainer.stream import lock
from trainer.stream.describe import told
from trainer.stream.heap import share_heap
from trainer.stream.identity import differences
from trainer.stream.stream import Stream
from trainer.watchdog import Watchdog


def train(
    config: RunConfig, progress: Progress = lambda fields: None, parent: str | None = None
) -> None:
    """Trains to the last step, from the newest checkpoint of the run if there is one.

    `parent` is a run or checkpoint to fork, if the run has none yet (see fork.py). Raises
    HeadraceError if the run's folder belongs to another config or parent, if a source cannot be
    read, if too much of it is damaged, or if loss or gradient stay not finite; Retired if a
    snapshot was retired, before the run (see stream/opening.py) or under it (see snapshots.py).
    Raises `control.Stopped`, with a checkpoint behind it, if a signal asked for that.
    """
    if config.tensorboard:
        tensorboard.require()
    share_heap()
    if config.threads:
        torch.set_num_threads(config.threads)
    folder = Path(config.run)
    with (
        distributed.join() as world,
        Watchdog(folder, config.hang_after, world) as watchdog,
        Control() as control,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        with forgetting(config, world), contextlib.ExitStack() as held:
            held.enter_context(_alone_in(folder, world))
            run = _open(config, world, folder, held)
            run.snapshots.pin()
            _begin(run, parent, watchdog)
            with run.snapshots.watched(control):
                loop(run, control, watchdog, progress)
            run.saver.wait()
            run.snapshots.release()


@contextlib.contextmanager
def _alone_in(folder: Path, world: World) -> Iterator[None]:
    """Keeps a second run out, whose lines would mix with ours. All ranks enter it together."""
    with contextlib.ExitStack() as held:
        taken = False
        if world.leads:
            with contextlib.suppress(OSError):  # a file system without locks
                taken = held.enter_context(lock.held(str(folder / "lock"))) is None
        if any(distributed.gather(taken)):
            raise HeadraceError(
                f"{folder}: another process trains in it; end that one first, or take a new folder"
            )
        yield


def _open(config: RunConfig, world: World, folder: Path, held: contextlib.ExitStack) -> Run:
    stream = held.enter_context(Stream(config.data, config.stream, world.rank, world.size))
    if world.rank == world.size - 1:  # it has the most lanes
        print(*told(stream.describe(), world.size), sep="\n", file=sys.stderr)
    learner = config.learner(world, stream.names)
    optimiser = build_optimiser(learner.groups(), config.optimiser)
    account = held.enter_context(
        contextlib.closing(Account(folder, stream.names, config.stream.max_bad, world.leads))
    )
    skipping = held.enter_context(
        contextlib.closing(Skipping(folder, stream.names, config.max_skipped, world.leads))
    )
    saver = held.enter_context(contextlib.closing(Saver(config.where, config.keep_checkpoints)))
    snapshots = Snapshots((*stream.snapshots, *learner.snapshots), config.run, world.leads)
    parts = (account, skipping, saver)
    return Run(config, world, learner, optimiser, stream, snapshots, folder, *parts)


def _begin(run: Run, parent: str | None, watchdog: Watchdog) -> None:
    """From the run's own newest checkpoint, else from the parent's, else from nothing.

    The first rank says which: a shared disk may not show all machines a new one at once.
    """
    newest = distributed.gather(checkpoint.newest(run.config.where))[0]
    if newest:
        _resume(run, newest, parent)
    else:
        _start(run, parent, watchdog)


def _start(run: Run, parent: str | None, watchdog: Watchdog) -> None:
    fork.check_new(run.folder, run.config.where, parent is not None)
    path = distributed.gather(fork.parent_of(parent) if parent else None)[0]
    if parent and path:
        fork.check(path, run.identity)
        run.parent = fork.record(parent, path, run.identity, run.stream.identity)
    _write_config(run)
    if run.world.leads:
        _write(run.folder / "origin.json", origin.of(run.stream))
    run.account.open(0, Delivered())
    if path:
        fork.load(path, run.learner.model, run.optimiser)
        run.step = checkpoint.read_state(path)["step"]
    run.skipping.open(run.step, Skipped())
    if path:
        save(run, watchdog)


def _write_config(run: Run) -> None:
    """A resume may have changed it: it says where the checkpoints are now."""
    if run.world.leads:
        fields = run.config.model_dump(mode="json")
        fields |= {"parent": run.parent} if run.parent else {}
        _write(run.folder / "config.json", fields)


def _write(path: Path, fields: dict[str, Any]) -> None:
    writing.publish(str(path), (json.dumps(fields, indent=1) + "\n").encode())


def _resume(run: Run, newest: str, parent: str | None) -> None:
    state = checkpoint.read_state(newest)
    run.parent = state.get("parent")
    if parent:
        fork.check_same(run.config.where, run.parent, parent)
    _check_same_run(run, state["config"])
    run.stream.load_state_dict(state["stream"])
    checkpoint.load(newest, run.learner.model, run.optimiser)
    run.step, run.validated = state["step"], state["validated"]
    run.account.open(run.stream.next_step, from_fields(state["delivered"]))
    run.skipping.open(run.step, Skipped(**state["skipped"]))
    _write_config(run)


def _check_same_run(run: Run, saved: dict[str, Any]) -> None:
    if changed := differences(saved, run.identity):
        raise HeadraceError(
            f"{run.config.where}: these checkpoints are of another config: {'; '.join(changed)}; "
            "change it back, or train in a new folder"
        )
