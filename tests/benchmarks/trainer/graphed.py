"""The trainer's step with forward and backward pass in one CUDA graph: what its launches cost.

The trainer does not do this; the row tells what there would be to win. Shapes are static as long as
prefixes are paired. Tasks and images of each step are copied to where the graph reads them.
"""

from dataclasses import fields

import torch
from torch.nn.utils import clip_grad_norm_

from tests.benchmarks.trainer import made
from trainer import compute
from trainer.config import TrainConfig
from trainer.model.aim import AIM
from trainer.objective.task import Task
from trainer.pixels import normalise
from trainer.stream.batch import Batch

WARM = 3
"""Passes before the capture: kernels are chosen, blocks are compiled (torch's notes on graphs)."""


class GraphedStep:
    """One update over made images, each time that it is called. Only on a CUDA device."""

    def __init__(self, config: TrainConfig, model: AIM, device: torch.device):
        if device.type != "cuda":
            raise ValueError(f"a {device.type} has no CUDA graphs")
        self.run, self.made = made.run_of(config, model, device), made.batches(config, device)
        batch = next(self.made)
        self.images, self.task = normalise(batch.images, device), self._task(batch)
        self.count = self.run.learner.counted(batch.step)
        self._warm_up()
        # Without gradients the capture makes them its own, and each replay writes them anew.
        self.run.optimiser.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._pass()

    def __call__(self) -> None:
        batch = next(self.made)
        self.images.copy_(normalise(batch.images, self.run.world.device))
        _write(self.task, self._task(batch))
        self.graph.replay()
        norm = clip_grad_norm_(self.run.learner.model.parameters(), self.run.config.optimiser.clip)
        self.run.optimiser.found_inf = (~torch.isfinite(norm)).float()
        self.run.optimiser.step()

    def _warm_up(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self._pass()
        torch.cuda.current_stream().wait_stream(side)

    def _pass(self) -> None:
        run, task = self.run, self.task
        with compute.autocast(run.config.compute, run.world.device):
            predictions = run.learner.model(self.images, task.prefix, task.rows, task.masked)
        (run.learner.objective.losses(predictions, self.images, task).sum() / self.count).backward()

    def _task(self, batch: Batch) -> Task:
        lanes, slots = batch.lanes.numpy(), batch.slots.numpy()
        return self.run.learner.objective.task(batch.step, lanes, slots).to(self.run.world.device)


def _write(static: Task, fresh: Task) -> None:
    for field in fields(static):
        old, new = getattr(static, field.name), getattr(fresh, field.name)
        if old is not None:
            old.copy_(new)
