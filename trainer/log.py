"""What a run says of itself as it goes: to metrics.jsonl, to TensorBoard and to whoever watches."""

from collections.abc import Callable
from functools import partial
from typing import Any

from trainer import distributed, flops, memory
from trainer.metrics import Metrics
from trainer.pace import Pace
from trainer.run import Run
from trainer.slow import PROBE, Probe, slow_rank
from trainer.step import Made
from trainer.tensorboard import Board

Progress = Callable[[dict[str, Any]], None]
"""Told the fields of each line of the log; docs/metrics.md has them."""


class Log:
    """The first rank writes; all ranks make the lines together."""

    def __init__(self, run: Run, progress: Progress) -> None:
        """Opens the files, and forgets what a killed run wrote of later steps."""
        self.progress, self.outs = progress, list[Metrics | Board]()
        self.probe = Probe(run.learner.probe)
        self.flops, self.peak = run.learner.flops, flops.peak_flops(run.world.device)
        if run.world.leads:
            self.outs.append(Metrics(run.folder / "metrics.jsonl", partial(_is_past, run)))
        if run.world.leads and run.config.tensorboard:
            self.outs.append(Board(run.folder / "tensorboard", run.step))

    def write(self, **fields: Any) -> None:
        """Passes a line on."""
        for out in self.outs:
            out.write(**fields)
        if self.outs:
            self.progress(fields)

    def step(self, run: Run, made: Made, pace: Pace) -> None:
        """The line of the step just made. A collective call, in which the device finishes it."""
        loss, norm = distributed.total(made.loss).item(), made.norm.item()
        delivered, skipped = run.account.settle(), run.skipping.settle()
        slow = slow_rank(distributed.gather(pace.phases() | {PROBE: self.probe.seconds()}))
        speed = pace.line(run.config.stream.batch)
        work = speed["images_per_second"], self.flops, run.world.size, self.peak
        self.write(
            step=run.step,
            loss=loss,
            grad_norm=norm,
            lr=max(run.learner.rates(run.step - 1)),
            skipped=skipped.total,
            **delivered.fields(),
            **speed,
            **flops.utilisation(*work),
            memory_gb=memory.peak_gb(run.world.device),
            eta_seconds=pace.forecast.seconds(run.config.steps - run.step),
            **_slow(slow),
        )

    def close(self) -> None:
        """Closes the files."""
        for out in self.outs:
            out.close()


def _is_past(run: Run, line: dict[str, Any]) -> bool:
    """Whether the run need not make this line again: a validation may have been cut short."""
    step: int = line["step"]
    to_do_again = "loss" not in line and run.validated != step
    return step < run.step or (step == run.step and not to_do_again)


def _slow(found: tuple[int, str, float] | None) -> dict[str, Any]:
    if found is None:
        return {}
    rank, phase, seconds = found
    return {"slow": {"rank": rank, "phase": phase, "seconds": round(seconds, 3)}}
