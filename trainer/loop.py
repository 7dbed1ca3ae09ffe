"""The loop: steps, and what is due after each."""

from collections.abc import Iterator

from pipeline.format.errors import HeadraceError
from trainer.control import Control, Stopped
from trainer.log import Log, Progress
from trainer.pace import Pace
from trainer.run import Run
from trainer.step import update
from trainer.stream.batch import Batch
from trainer.stream.transfer import to_device
from trainer.watchdog import Watchdog


def loop(run: Run, control: Control, watchdog: Watchdog, progress: Progress) -> None:
    """Trains to the last step. Raises Stopped on all ranks, behind a checkpoint, if asked to."""
    log = Log(run, progress)
    try:
        _steps(run, control, watchdog, log)
    except Stopped:
        save(run, watchdog)
        run.saver.wait()
        raise
    finally:
        log.close()


def _steps(run: Run, control: Control, watchdog: Watchdog, log: Log) -> None:
    if run.validated != run.step and (
        run.account.step == 0 or _due(run, run.config.validate_every)
    ):
        _validate(run, control, watchdog, log)
    pace = Pace()
    batches = to_device(pace.watch(iter(run.stream)), run.world.device)
    while run.step < run.config.steps:
        control.poll()
        watchdog.beat(run.step, "data")
        batch = _take(run, pace, batches)
        watchdog.beat(run.step, "step")
        made = update(run, batch)
        run.account.count(batch)
        run.skipping.add(run.step, made.skipped, made.flaws, batch)
        if _due(run, run.config.log_every):
            log.step(run, made, pace)
        with pace.aside():
            if _due(run, run.config.validate_every):
                _validate(run, control, watchdog, log)
            if _due(run, run.config.checkpoint_every):
                save(run, watchdog)


def _take(run: Run, pace: Pace, batches: Iterator[Batch]) -> Batch:
    """The next batch. Raises Stopped where there is none since a snapshot was retired: a rank that
    waits for no other can still save."""
    try:
        return pace.take(batches)
    except HeadraceError:
        if run.world.size == 1 and run.snapshots.retired():
            raise Stopped("retirement") from None
        raise


def _due(run: Run, every: int) -> bool:
    return run.step % every == 0 or run.step == run.config.steps


def _validate(run: Run, control: Control, watchdog: Watchdog, log: Log) -> None:
    def poll() -> None:
        watchdog.beat(run.step, "validation")
        control.poll()

    poll()
    found = run.learner.validate(run.step, poll)
    run.validated = run.step
    if found:
        log.write(step=run.step, **found)


def save(run: Run, watchdog: Watchdog) -> None:
    """Sets a checkpoint going; what it says was delivered is on the disk before."""
    watchdog.beat(run.step, "save")
    skipped = run.skipping.settle()
    state = {
        "config": run.identity,
        "parent": run.parent,
        "stream": run.stream.state_dict() | {"step": run.account.step},
        "delivered": run.account.settle().fields(),
        "skipped": {"total": skipped.total, "in_a_row": skipped.in_a_row},
        "validated": run.validated,
    }
    run.saver.save(run.step, run.learner.model, run.optimiser, state)
