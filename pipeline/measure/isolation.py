"""What a stranger's bytes may kill is done in a child process, which may die without harm.

The child gets one piece at a time and answers, so the piece that it dies of is known at once, and
nothing has to be searched for it. That piece is tried once more in a fresh child, since an earlier
one may have broken the old child's memory; what kills this one, too, is to blame.

Run as a module, this file is the child.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from pipeline.format.errors import HeadraceError
from pipeline.format.images import OUT_OF_MEMORY
from pipeline.measure import limits

Work = Callable[[Any], bytes | pa.Buffer]
"""What a child does with a piece. It answers bytes, never pickles: what a decoder has taken over
must not run code in the parent."""

START_SECONDS = 300
"""Time for a child to import what it needs, on a machine that is busy with other things."""

TRIES = 3
"""SIGKILL comes from outside: an operator, or the kernel when memory is short. That often it must
meet one piece alone before the piece is blamed."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection
    fresh: bool = True
    """Whether it has been given nothing yet that may have broken it."""


class Children:
    """One child after another, each used until it dies; by one thread at a time."""

    def __init__(self, begin: Callable[[], Work], nbytes: int, seconds: float) -> None:
        """`begin` is called in each new child and gives what is to be done with pieces; it is a
        function of a module, or a partial of one. A piece may take `seconds`, and `nbytes` of
        memory beside what the child then holds."""
        self.begin, self.nbytes, self.seconds = begin, nbytes, seconds
        self.child: _Child | None = None

    def ask(self, piece: Any, harmless: bool = False) -> bytes | str:
        """What is answered to a piece, or how it ended a child that had seen nothing else.

        `decoder_died: signal SIGSEGV`, `decoder_hung: over 30 s`, or `decoder_out_of_memory: …`.
        A child that was given a harmless piece counts as one that had seen nothing. Raises
        HeadraceError if no child can be started.
        """
        answer, alone = self._ask(piece, harmless)
        tries = 0
        while isinstance(answer, str) and (not alone or (answer == KILLED and tries < TRIES)):
            tries += 1
            answer, alone = self._ask(piece, harmless)
        return OUT_OF_MEMORY if answer == KILLED else answer

    def _ask(self, piece: Any, harmless: bool) -> tuple[bytes | str, bool]:
        """The answer or the end of a child, and whether that child had seen nothing else."""
        child = self.child = self.child or self._start()
        alone, child.fresh = child.fresh, child.fresh and harmless
        try:
            child.pipe.send(piece)
            if child.pipe.poll(self.seconds):
                return child.pipe.recv_bytes(), alone
            end = f"decoder_hung: over {self.seconds:g} s"
        except (EOFError, OSError):
            end = _end_of(child.process.wait())
        self.close()
        return end, alone

    def _start(self) -> _Child:
        """A child that is ready for its first piece."""
        for _ in range(TRIES):
            child = _spawn()
            with contextlib.suppress(EOFError, OSError):
                child.pipe.send((self.begin, self.nbytes, self.seconds))
                if child.pipe.poll(START_SECONDS) and child.pipe.recv_bytes() == READY:
                    return child
            child.process.kill()
            end = _end_of(child.process.wait())
        raise HeadraceError(
            f"the process that is to open images does not start ({end}); look for an out-of-memory "
            "kill on its machine, then run the same command again"
        )

    def close(self) -> None:
        """Ends the child, if one is there."""
        if self.child:
            self.child.pipe.close()
            self.child.process.kill()
            self.child.process.wait()
            self.child = None


def _end_of(code: int) -> str:
    if code < 0:
        return f"decoder_died: signal {signal.Signals(-code).name}"
    return f"decoder_died: exit code {code}"


KILLED = _end_of(-signal.SIGKILL)


def _spawn() -> _Child:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.measure.isolation", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return _Child(process, ours)


READY = b"ready"


def _serve(pipe: Connection) -> None:
    """The child: answers until the parent hangs up."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file may be as large as its memory
    begin, nbytes, seconds = pipe.recv()
    work = begin()
    with limits.memory_limit(nbytes), contextlib.suppress(EOFError):
        pipe.send_bytes(READY)
        while True:
            piece = pipe.recv()
            with _alarm(2 * seconds):
                answer = work(piece)
            pipe.send_bytes(answer)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """The parent ends a child that hangs; one whose parent died first ends itself."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
