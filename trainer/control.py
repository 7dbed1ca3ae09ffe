"""Stopping a run from outside: asked on any rank, heard by all ranks at the same step.

A signal's handler only notes it. Once a step every rank polls: it reads what the ranks told each
other since its last poll, and starts the next exchange, one small number over gloo, which goes on
while the step is computed. So a stop is heard one step late and costs no rank a wait.

What cannot be heard: Python runs handlers between two of its instructions, so a signal waits for
the end of a call into C (a backward pass, a collective); those end in bounded time, or the watchdog
ends them. Before `Control` begins and after it ends, a signal does what it did before.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""What schedulers, people and torchrun stop a run with."""

STOPPED = 75
"""Exit code of a run that was stopped and can go on: EX_TEMPFAIL of sysexits.h."""

ENDS = "HEADRACE_ENDS"
"""Environment variable: the folder in which ranks leave their exit codes for who started them."""

SAME_SECONDS = 5.0
"""Signals this close are one wish: a scheduler signals every process of a job, and torchrun passes
its own on to the ranks besides."""

RETIREMENT = 1000
"""Heard where a signal's number would be, and above all of them: what the run reads was retired."""

PATIENCE = timedelta(days=7)
"""Of the exchange; a rank that is late is the watchdog's matter."""


def handled() -> list[signal.Signals]:
    """`SIGNALS`, and the end of a terminal, unless nohup has it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [*SIGNALS, *([] if ignored else [signal.SIGHUP])]


class Stopped(Exception):
    """The run was asked to stop, as all its ranks know; `signal` names what asked, which may be a
    retirement."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return f"stopped by {self.signal}"


_asked = 0


def ask(number: int) -> None:
    """Asks the run of this process to stop, as that signal would; any thread may.

    It is there for loops outside the main thread, where Python allows no handlers (Ray Train).
    """
    global _asked
    _asked = _asked or int(number)


def asked() -> int:
    """Number of the signal that this process was asked to stop with; 0 is none."""
    return _asked


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """In the block signals ask, if it is in the main thread; what was asked before is forgotten.

    A second signal, while the first is being obeyed, does what it did before the block.
    """
    global _asked
    _asked, since = 0, 0.0
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if not _asked:
            since = time.monotonic()
        elif time.monotonic() - since > SAME_SECONDS:
            restore()
            signal.raise_signal(number)
        ask(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        before |= {number: signal.signal(number, note) for number in handled()}
    try:
        yield
    finally:
        restore()


class Control:
    """Hears signals inside its block, which all ranks enter together."""

    def __init__(self) -> None:
        self._group = _own_group()
        self._retirement = 0
        self._told = torch.zeros(1, dtype=torch.int32)
        self._exchange: Any = None
        self._listening = listening()

    def retire(self) -> None:
        """Asks as a signal does, because what the run reads was retired; any thread may."""
        self._retirement = RETIREMENT

    def poll(self) -> None:
        """Raises Stopped if any rank was asked, on all ranks at the same call of theirs.

        Once a step, and in everything long: all ranks must call it equally often.
        """
        wish = max(asked(), self._retirement)
        heard = wish if self._group is None else self._hear()
        if heard:
            raise Stopped("retirement" if heard == RETIREMENT else signal.Signals(heard).name)
        if self._group is not None:
            self._told.fill_(wish)
            self._exchange = dist.all_reduce(
                self._told, dist.ReduceOp.MAX, group=self._group, async_op=True
            )

    def _hear(self) -> int:
        """What the ranks said at their last poll."""
        if self._exchange is None:
            return 0
        self._exchange.wait()
        self._exchange = None
        return int(self._told)

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.__exit__(None, None, None)
        if kind is None:
            self._hear()  # the last exchange, which must not outlive the process group


def _own_group() -> Any:
    """A group on which no other traffic waits; none is needed alone. A collective call."""
    if dist.get_world_size() == 1:
        return None
    return dist.new_group(backend="gloo", timeout=PATIENCE)
