"""The training loop: the same on one process and on many.

    <run>/config.json         the resolved config
    <run>/metrics.jsonl       losses, rates, shares, digests: one JSON object a line
    <run>/checkpoints/        see checkpoint.py
    <run>/pictures/           next-patch predictions on fixed validation images

The state of a run is its step: stream, prefixes and learning rate are pure functions of it. So a
run that was killed and resumed gives the bits of one that was not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import read_mixture
from trainer import checkpoint, distributed
from trainer.config import TrainConfig
from trainer.delivered import Delivered, from_fields, total
from trainer.distributed import World
from trainer.metrics import Metrics
from trainer.model.aim import AIM
from trainer.objective import loss_sum_and_count
from trainer.optimiser import build_optimiser, learning_rate
from trainer.pixels import normalise
from trainer.stream.batch import Batch
from trainer.stream.plan import prefix_lengths
from trainer.stream.stream import Stream
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
    step: int = 0
    """Finished updates."""
    before: Delivered = field(default_factory=Delivered)
    """To all ranks, until this process started."""
    here: Delivered = field(default_factory=Delivered)
    """To this rank, since."""


def train(config: TrainConfig, progress: Progress = lambda step, loss: None) -> None:
    """Trains to the last step, from the newest checkpoint of the run if there is one.

    Raises HeadraceError if the run's folder belongs to another config, if a source cannot be
    read, or if the loss is no longer finite.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    with distributed.join() as world:
        run = _open(config, world)
        with run.stream:
            _resume(run)
            _loop(run, progress)


def _open(config: TrainConfig, world: World) -> Run:
    folder = Path(config.run)
    folder.mkdir(parents=True, exist_ok=True)
    stream = Stream(read_mixture(config.mixture), config.stream, world.rank, world.size)
    with torch.device("meta"):
        model = AIM(config.shape)
    distributed.shard(model, world)
    model.materialise(world.device)
    model.init_weights(torch.Generator().manual_seed(config.seed))
    optimiser = build_optimiser(model, config.optimiser)
    validation = Validation.open(config, world) if config.validation else None
    return Run(config, world, model, optimiser, stream, validation, folder)


def _resume(run: Run) -> None:
    newest = checkpoint.newest(run.folder / "checkpoints")
    if newest is None:
        if run.world.leads:
            text = run.config.model_dump_json(indent=1) + "\n"
            store.publish(str(run.folder / "config.json"), text.encode())
        return
    state = checkpoint.read_state(newest)
    _check_same_run(run, state["config"])
    run.stream.load_state_dict(state["stream"])
    checkpoint.load(newest, run.model, run.optimiser)
    run.step, run.before = state["step"], from_fields(state["delivered"])


FREE_TO_CHANGE = {"run", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"}
"""Fields that a resume may change: they alter no weight. `threads` does, in the last bits."""


def _check_same_run(run: Run, saved: dict[str, Any]) -> None:
    now = _identity(run.config)
    changed = [f"{k}: was {saved.get(k)}, now {now[k]}" for k in now if saved.get(k) != now[k]]
    if changed:
        raise HeadraceError(
            f"{run.folder}: these checkpoints are of another config: {'; '.join(changed)}; "
            "change it back, or train in a new folder"
        )


def _identity(config: TrainConfig) -> dict[str, Any]:
    """What a run's weights depend on. The stream checks its own part."""
    exclude = FREE_TO_CHANGE | {"stream", "mixture", "validation"}
    fields = config.model_dump(mode="json", exclude=exclude)
    return fields | {"model": config.shape.model_dump(mode="json")}


def _loop(run: Run, progress: Progress) -> None:
    """Steps, and what is due after each: log, validation, checkpoint."""
    metrics = Metrics(run.folder / "metrics.jsonl", run.step) if run.world.leads else None
    if run.step == 0:
        _validate(run, metrics)
    since, seen, waited = time.monotonic(), 0, 0.0
    batches = iter(run.stream)
    while run.step < run.config.steps:
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        line = _update(run, batch)
        seen += run.config.stream.batch
        if _due(run, run.config.log_every):
            seconds = time.monotonic() - since
            speed = {"images_per_second": round(seen / seconds, 1)}
            speed["data_wait"] = round(waited / seconds, 4)
            _log(run, metrics, line, speed, progress)
            since, seen, waited = time.monotonic(), 0, 0.0
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
    images = normalise(batch.images, device)
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
    run.here.drawn.update(run.stream.names[source] for source in batch.sources.tolist())
    run.here.replaced += len(batch.bad)
    run.here.digest = run.stream.digest
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
    speed: dict[str, float],
    progress: Progress,
) -> None:
    """One line for all ranks: the last step's loss, and what was delivered since the beginning."""
    loss = float(distributed.total(line["loss"]))
    delivered = _delivered(run)
    rate = learning_rate(run.step - 1, run.config.steps, run.config.optimiser)
    if metrics:
        norm = float(line["grad_norm"])
        counts = delivered.fields()
        metrics.write(step=run.step, loss=loss, grad_norm=norm, lr=rate, **counts, **speed)
        progress(run.step, loss)


def _delivered(run: Run) -> Delivered:
    """To all ranks, since the run began."""
    return total([run.before, *distributed.gather(run.here)])


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
        "config": _identity(run.config),
        "stream": run.stream.state_dict(),
        "delivered": _delivered(run).fields(),
    }
    checkpoint.save(folder, run.step, run.model, run.optimiser, state)
    if run.world.leads:
        checkpoint.keep_newest(folder, run.config.keep_checkpoints)
