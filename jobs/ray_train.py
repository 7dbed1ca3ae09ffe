"""`--ray` of every training: the same loop as ranks on a Ray cluster, by Ray Train.

Ray finds the machines, starts the ranks and joins them; checkpoints, resume and log are the loop's
own. What a lost worker breaks is begun again from the newest checkpoint. Ray runs the loop outside
the main thread of a worker, where no signal is heard: a signal to this command reaches the ranks
through an actor that they ask once a second, and which takes the lines of their log.

All machines must see the run's folder; relative paths start at the folder of this command.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs import capacity, cluster
from jobs.console import console, logged
from pipeline.format.errors import HeadraceError
from trainer import checkpoint, control
from trainer.config import RunConfig
from trainer.control import STOPPED, Stopped
from trainer.line import line
from trainer.train import train

ASK_SECONDS = 1.0
"""How often ranks and driver ask the board."""

LOSSES = 3
"""Times in a row that workers may be lost before the next checkpoint is there."""


class Board:
    """Where driver and ranks leave word for each other."""

    def __init__(self) -> None:
        self._asked = 0
        self._lines: list[dict[str, Any]] = []

    def asked(self) -> int:
        """The signal to stop with; 0 is none."""
        return self._asked

    def tell(self, fields: dict[str, Any]) -> None:
        """Takes a line of the log."""
        self._lines.append(fields)

    def exchange(self, asked: int) -> list[dict[str, Any]]:
        """Takes the signal, gives the lines that came since."""
        self._asked, lines, self._lines = asked, self._lines, []
        return lines


def run(config: RunConfig, workers: int, parent: str | None = None) -> int:
    """Trains on that many workers, with a GPU each where the cluster has some.

    Returns 0, `STOPPED` after a signal and a checkpoint, or -n if workers were lost after signal n.
    Raises HeadraceError if the cluster is too small, for what a rank says a person can mend, and if
    workers are lost again and again.
    """
    with cluster.session(), control.listening():
        _check_room(workers)
        console.print(f"train {config.run} on {workers} Ray workers")
        board = _board()
        fitting = _in_thread(lambda: _fit(config, workers, parent, board))
        with logged(f"train {config.run}", config.steps, "steps") as told:
            done = False
            while not done:
                done = bool(wait([fitting], timeout=ASK_SECONDS).done)
                for fields in cluster.get(board.exchange.remote(control.asked())):
                    told(fields["step"], line(fields, config.steps))
        return fitting.result()


def _check_room(workers: int) -> None:
    """Ray would wait for machines that may never come."""
    what, count = ("GPUs", capacity.gpus()) if capacity.gpus() else ("processors", capacity.cpus())
    if workers > count:
        raise HeadraceError(
            f"--nproc {workers}: the Ray cluster has {count} {what}; start more machines, or use "
            "fewer workers"
        )


def _board() -> Any:
    """On the driver's machine: if that is lost, so is the run."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()


def _in_thread(work: Callable[[], int]) -> Future[int]:
    """The main thread hears signals meanwhile, and may end without it."""
    future: Future[int] = Future()

    def put() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=put, name="fitting", daemon=True).start()
    return future


def _fit(config: RunConfig, workers: int, parent: str | None, board: Any) -> int:
    """Again while workers are lost and the run gets on; never for what a person must mend."""
    task = {"kind": type(config), "config": config.model_dump(mode="json"), "parent": parent}
    task |= {"board": board, "folder": os.getcwd()}
    losses, reached = 0, ""
    while True:
        try:
            _trainer(task, config, workers).fit()
            return 0
        except ray.train.WorkerGroupError as error:
            if _was_stopped(error):
                return STOPPED
            if number := control.asked():
                return -number
            before, reached = reached, checkpoint.newest(config.where) or ""
            losses = 1 if reached != before else losses + 1
            if losses > LOSSES:
                raise _lost(config, error) from error
            told = f"{config.run}: lost {_said(error)}; goes on from {reached or 'the beginning'}"
            console.print(told, markup=False, soft_wrap=True)
        except ray.train.ControllerError as error:
            first = str(error.controller_failure).strip().partition("\n")[0]
            raise HeadraceError(
                f"{config.run}: Ray Train did not begin: {first}; every machine needs headrace"
            ) from error


def _trainer(task: dict[str, Any], config: RunConfig, workers: int) -> TorchTrainer:
    """Ray keeps its own notes of the run beside ours; it has no checkpoint of ours to keep."""
    gpu = capacity.gpus() > 0
    return TorchTrainer(
        _rank,
        train_loop_config=task,
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=os.path.abspath(config.run),
            failure_config=ray.train.FailureConfig(max_failures=0),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]
        ),
    )


def _was_stopped(error: ray.train.WorkerGroupError) -> bool:
    """Raises what a rank said to a person: the others then failed because of it."""
    failures = error.worker_failures.values()
    for failure in failures:
        if isinstance(failure, HeadraceError):
            raise HeadraceError(str(failure)) from error
    return any(isinstance(failure, Stopped) for failure in failures)


def _lost(config: RunConfig, error: ray.train.WorkerGroupError) -> HeadraceError:
    return HeadraceError(
        f"{config.run}: Ray workers were lost {LOSSES + 1} times without a checkpoint in between, "
        f"at last {_said(error)}; look into {config.run}/hangs, and for an "
        "out-of-memory kill on the machines"
    )


def _said(error: ray.train.WorkerGroupError) -> str:
    """Of one rank, the last line."""
    rank, failure = next(iter(error.worker_failures.items()))
    said = str(failure).strip().splitlines() or [type(failure).__name__]
    return f"rank {rank} ({said[-1]})"


def _rank(task: dict[str, Any]) -> None:
    """One rank, in a thread of a Ray worker, whose environment says which."""
    try:
        os.chdir(task["folder"])
    except OSError as error:
        raise HeadraceError(
            f"{task['folder']}: {error.strerror} on {os.uname().nodename}; start the command in a "
            "folder that all machines of the cluster have"
        ) from error
    board = task["board"]
    with _listening(board):
        train(task["kind"].model_validate(task["config"]), board.tell.remote, task["parent"])


@contextlib.contextmanager
def _listening(board: Any) -> Iterator[None]:
    """Asks the board whether the run is to stop, until the end of the block."""
    ended = threading.Event()

    def listen() -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # a board that is gone asks for nothing
            while not ended.wait(ASK_SECONDS):
                control.ask(ray.get(board.asked.remote()))

    thread = threading.Thread(target=listen, name="listening", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
