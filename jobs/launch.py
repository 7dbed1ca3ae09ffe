"""Ranks on this machine, started as torchrun does, and the exit code that they ended with.

torchrun's own command hides the codes of its ranks, and ends a clean stop with a traceback; so its
launcher is called here instead.
"""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from trainer.control import ENDS, STOPPED, handled
from trainer.watchdog import HUNG

MARGIN = 10
"""Seconds in which a rank that has saved is gone."""


def run(words: list[str], processes: int, stop_within: int) -> int:
    """Runs `python WORDS` as that many ranks; signals that `control.handled` names are passed on to
    them, who in sessions of their own hear of no terminal.

    Ranks that do not end within `stop_within` seconds of a signal are killed (before torch 2.12
    within 30). Returns 0, `HUNG`, `STOPPED` if all ranks stopped with a checkpoint, or else the
    code of the first that failed, -n if a signal n ended it.
    """
    _quiet()
    with tempfile.TemporaryDirectory() as ends, _environment(ends, stop_within):
        try:
            elastic_launch(_config(processes), sys.executable)(*words)
        except ChildFailedError as error:
            codes = {failure.exitcode for failure in error.failures.values()}
            return _of_all(codes) or error.get_first_failure()[1].exitcode
        except SignalException as error:
            return _told(Path(ends), processes, error.sigval)
    return 0


@contextlib.contextmanager
def _environment(ends: str, stop_within: int) -> Iterator[None]:
    """What ranks and their launcher are told by it; afterwards it is as before."""
    before = dict(os.environ)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does, and says at length
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(stop_within + MARGIN)
    os.environ[ENDS] = ends
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _config(processes: int) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=",".join(number.name for number in handled()),
    )


def _quiet() -> None:
    """Who failed, and of what, is said once: by our caller."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _of_all(codes: set[int]) -> int:
    """What a few codes say together: the first rank to end has the others told to, by SIGTERM."""
    if HUNG in codes:
        return HUNG
    return STOPPED if STOPPED in codes <= {STOPPED, -signal.SIGTERM} else 0


def _told(ends: Path, processes: int, number: signal.Signals) -> int:
    """After a signal the launcher does not say how its ranks ended; they do."""
    codes = [int(path.read_text()) for path in ends.iterdir()]
    alike = len(codes) == processes and len(set(codes)) == 1
    return codes[0] if alike else -number
