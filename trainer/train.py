"""The training loop: the same on one process and on many.

    <run>/config.json         the resolved config
    <run>/metrics.jsonl       losses, rates, shares, digests: one JSON object a line
    <run>/delivered.txt       a digest of what each step was fed; see proof.py
    <run>/quarantine.jsonl    the damaged samples that were met
    <run>/checkpoints/        see checkpoint.py
    <run>/pictures/           next-patch predictions on fixed validation images

The state of a run is its step: stream, prefixes and learning rate are pure functions of it. So a
run that was killed and resumed gives the bits of one that was not.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from trainer import checkpoint, distributed, fork
from trainer.config import TrainConfig
from trainer.delivered import Account, Delivered, from_fields
from trainer.distributed import World
from trainer.metrics import Metrics
from trainer.model.aim import AIM
from trainer.objective import loss_sum_and_count
from trainer.optimiser import build_optimiser, learning_rate
from trainer.pace import Pace
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.describe import told
from trainer.stream.heap import share_heap
from trainer.stream.jitter import jittered
from trainer.stream.plan import prefix_lengths
from trainer.stream.stream import Stream
from trainer.stream.transfer import to_device
from trainer.validation import Validation

Progress = Callable[[int, float], None]
"""Told the number of finished steps and the loss whenever a line is logged."""


@dataclass
class Run:
    """A run under way on this rank: its parts, and what it counts."""

    config: TrainConfig
    world: World
    model: AIM
    optimiser: Optimizer
    stream: Stream
    validation: Validation | None
    folder: Path
    account: Account
    step: int = 0
    """Finished updates, the parent's included."""
    parent: dict[str, Any] | None = None
    """What it was forked from; see `fork.record`."""


def train(
    config: TrainConfig,
    progress: Progress = lambda step, loss: None,
    parent: str | None = None,
) -> None:
    """Trains to the last step, from the newest checkpoint of the run if there is one.

    `parent` is a run or checkpoint to fork, if the run has none yet (see fork.py). Raises
    HeadraceError if the run's folder belongs to another config or parent, if a source cannot be
    read, if too much of it is damaged, or if the loss is no longer finite.
    """
    share_heap()
    if config.threads:
        torch.set_num_threads(config.threads)
    with distributed.join() as world:
        run = _open(config, world)
        with run.stream, contextlib.closing(run.account):
            _begin(run, parent)
            _loop(run, progress)


def _open(config: TrainConfig, world: World) -> Run:
    folder = Path(config.run)
    folder.mkdir(parents=True, exist_ok=True)
    stream = Stream(config.mixture, config.stream, world.rank, world.size)
    if world.rank == world.size - 1:  # it has the most lanes
        print(*told(stream.describe(), world.size), sep="\n", file=sys.stderr)
    with torch.device("meta"):
        model = AIM(config.shape)
    distributed.shard(model, world)
    model.materialise(world.device)
    model.init_weights(torch.Generator().manual_seed(config.seed))
    optimiser = build_optimiser(model, config.optimiser)
    validation = Validation.open(config, world) if config.validation else None
    account = Account(folder, stream.names, config.stream.max_bad, world.leads)
    return Run(config, world, model, optimiser, stream, validation, folder, account)


def _begin(run: Run, parent: str | None) -> None:
    """From the run's own newest checkpoint, else from the parent's, else from nothing."""
    newest = checkpoint.newest(run.folder / "checkpoints")
    if newest:
        _resume(run, newest, parent)
        return
    path = fork.parent_of(parent) if parent else None
    if path:
        fork.check(path, run.config.identity)
        run.parent = fork.record(path, run.config.identity, run.stream.identity)
    if run.world.leads:
        fields = run.config.model_dump(mode="json")
        fields |= {"parent": run.parent} if run.parent else {}
        text = json.dumps(fields, indent=1) + "\n"
        writing.publish(str(run.folder / "config.json"), text.encode())
    run.account.open(0, Delivered())
    if path:
        fork.load(path, run.model, run.optimiser)
        run.step = checkpoint.read_state(path)["step"]
        _save(run)


def _resume(run: Run, newest: Path, parent: str | None) -> None:
    state = checkpoint.read_state(newest)
    run.parent = state.get("parent")
    if parent:
        fork.check_same(run.folder, run.parent, parent)
    _check_same_run(run, state["config"])
    run.stream.load_state_dict(state["stream"])
    checkpoint.load(newest, run.model, run.optimiser)
    run.step = state["step"]
    run.account.open(run.stream.next_step, from_fields(state["delivered"]))


def _check_same_run(run: Run, saved: dict[str, Any]) -> None:
    now = run.config.identity
    changed = [f"{k}: was {saved.get(k)}, now {now[k]}" for k in now if saved.get(k) != now[k]]
    if changed:
        raise HeadraceError(
            f"{run.folder}: these checkpoints are of another config: {'; '.join(changed)}; "
            "change it back, or train in a new folder"
        )


def _loop(run: Run, progress: Progress) -> None:
    """Steps, and what is due after each: log, validation, checkpoint."""
    begins = run.account.step == 0
    kept = run.step - 1 if begins else run.step  # it is validated (again) before its first step
    metrics = Metrics(run.folder / "metrics.jsonl", kept) if run.world.leads else None
    if begins:
        _validate(run, metrics)
    pace = Pace()
    batches = to_device(pace.watch(iter(run.stream)), run.world.device)
    while run.step < run.config.steps:
        line = _update(run, pace.take(batches))
        if _due(run, run.config.log_every):
            _log(run, metrics, line, pace.line(run.config.stream.batch), progress)
        if _due(run, run.config.validate_every):
            _validate(run, metrics)
        if _due(run, run.config.checkpoint_every):
            _save(run)
    if metrics:
        metrics.close()


def _due(run: Run, every: int) -> bool:
    return run.step % every == 0 or run.step == run.config.steps


def _update(run: Run, batch: Batch) -> dict[str, torch.Tensor]:
    """One step of the optimiser; returns the loss and gradient norm, still on the device."""
    config, device = run.config, run.world.device
    colours = config.stream.augment.jitter
    images = normalise(jittered(batch, run.stream.names, config.stream.seed, colours), device)
    patches = config.shape.num_patches
    lanes, slots = batch.lanes.numpy(), batch.slots.numpy()
    drawn = prefix_lengths(config.seed, batch.step, lanes, slots, patches)
    prefix = torch.from_numpy(drawn).to(device)
    loss_sum, count = loss_sum_and_count(run.model(images, prefix), images, prefix)
    counted = distributed.total(count)
    # FSDP averages gradients over ranks; the loss is a mean over all ranks' scored patches.
    (loss_sum / counted * run.world.size).backward()
    norm = _clip(run)
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, config.steps, config.optimiser)
    run.optimiser.step()
    run.optimiser.zero_grad()
    run.step += 1
    run.account.count(batch)
    return {"loss": loss_sum.detach() / counted, "grad_norm": norm}


def _clip(run: Run) -> torch.Tensor:
    """Clips the gradient and returns its norm over all ranks."""
    limit = run.config.optimiser.clip
    try:
        return clip_grad_norm_(run.model.parameters(), limit, error_if_nonfinite=True)
    except RuntimeError as error:
        if "non-finite" not in str(error):
            raise
        raise HeadraceError(
            f"{run.folder}: loss or gradient are no longer finite at step {run.step}; "
            "lower optimiser.lr, or look at the samples of this step"
        ) from error


def _log(
    run: Run,
    metrics: Metrics | None,
    line: dict[str, torch.Tensor],
    speed: dict[str, Any],
    progress: Progress,
) -> None:
    """One line for all ranks: the last step's loss, and what was delivered since the beginning."""
    loss = float(distributed.total(line["loss"]))
    delivered = run.account.settle()
    rate = learning_rate(run.step - 1, run.config.steps, run.config.optimiser)
    if metrics:
        norm = float(line["grad_norm"])
        counts = delivered.fields()
        metrics.write(step=run.step, loss=loss, grad_norm=norm, lr=rate, **counts, **speed)
        progress(run.step, loss)


def _validate(run: Run, metrics: Metrics | None) -> None:
    if run.validation is None:
        return
    losses = run.validation.losses(run.model)
    picture = run.folder / "pictures" / f"{run.step:08d}.png"
    run.validation.save_picture(run.model, picture)
    if metrics:
        metrics.write(step=run.step, validation=losses)


def _save(run: Run) -> None:
    folder = run.folder / "checkpoints"
    state = {
        "config": run.config.identity,
        "parent": run.parent,
        "stream": run.stream.state_dict() | {"step": run.account.step},
        "delivered": run.account.settle().fields(),
    }
    checkpoint.save(folder, run.step, run.model, run.optimiser, state)
    if run.world.leads:
        checkpoint.keep_newest(folder, run.config.keep_checkpoints)
