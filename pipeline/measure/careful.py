"""Careful mode: a part's images are measured in a child process, which may die without harm.

Workers measure at full speed in their own process. A part whose worker died, hung or outgrew its
memory is measured again here. The child gets one image at a time and answers with its row, so
the image that it dies of is known at once, and no batch has to be searched for it. That image is
tried once more in a fresh child, since an earlier one may have broken the old child's memory;
what kills this one, too, becomes a row with the reason. Whatever can be measured has the row of
the fast way, to the byte.

Run as a module, this file is the child.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from pipeline import ledger
from pipeline.format.images import OUT_OF_MEMORY
from pipeline.measure import image, limits
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage

START_SECONDS = 300
"""Time for a child to import what it needs, on a machine that is busy with other things."""

TRIES = 3
"""SIGKILL comes from outside: an operator, or the kernel when memory is short. That often it must
meet one image alone before the image is blamed."""

KINDS = ("decoder_died", "decoder_hung", OUT_OF_MEMORY.partition(":")[0], "measuring_failed")
"""Errors that mean a sample was isolated."""


def measure_part_carefully(
    part: Part, config: ImageConfig, seconds: float = limits.SECONDS
) -> pa.Table:
    """One row of IMAGE_SCHEMA for each pool image of the part, in order.

    An image that ends its process has the `error` `decoder_died: signal SIGSEGV`, one that takes
    over `seconds` is `decoder_hung`, one that needs more than `limits.memory` is
    `decoder_out_of_memory`, and one that makes our own code raise is `measuring_failed`. Raises
    HeadraceError if the store fails.
    """
    with contextlib.closing(_Children(config, seconds)) as children:
        rows = [children.row(image) for image in source.read(part, config.max_bytes)]
    return pa.concat_tables([ledger.IMAGE_SCHEMA.empty_table(), *rows]).combine_chunks()


def isolated(table: pa.Table) -> list[str]:
    """The errors, in order, of rows whose image had to be kept away from the others."""
    errors = table["error"].to_pylist()
    return [error for error in errors if error and error.partition(":")[0] in KINDS]


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    pipe: Connection
    fresh: bool = True
    """Whether it has not been given the bytes of an image yet."""


class _Children:
    """One child after another, each used until it dies."""

    def __init__(self, config: ImageConfig, seconds: float) -> None:
        self.config, self.seconds = config, seconds
        self.child: _Child | None = None

    def row(self, whole: PoolImage) -> pa.Table:
        """The row of an image, or the most of it that can be had without dying."""
        answer = self._try(whole)
        if isinstance(answer, str):
            answer = self._try(replace(whole, image=b"", error=answer))
        if isinstance(answer, str):  # it was not the image, then, but the texts beside it
            place = replace(whole, image=b"", caption="", meta={}, error=answer)
            answer = _as_table(image.facts(place, self.config))
        return answer

    def _try(self, shown: PoolImage) -> pa.Table | str:
        """Its row, or how it ended a child that had seen no other image."""
        answer, alone = self._ask(shown)
        tries = 0
        while isinstance(answer, str) and (not alone or (answer == KILLED and tries < TRIES)):
            tries += 1
            answer, alone = self._ask(shown)
        return OUT_OF_MEMORY if isinstance(answer, str) and answer == KILLED else answer

    def _ask(self, shown: PoolImage) -> tuple[pa.Table | str, bool]:
        """Its row or the end of a child, and whether that child had seen no other image."""
        child = self.child = self.child or _start(self.config, self.seconds)
        alone, child.fresh = child.fresh, child.fresh and not shown.image
        try:
            child.pipe.send(shown)
            if child.pipe.poll(self.seconds):
                return pa.ipc.open_stream(child.pipe.recv_bytes()).read_all(), alone
            end = f"decoder_hung: over {self.seconds:g} s"
        except (EOFError, OSError):
            end = _end_of(child.process.wait())
        self.close()
        return end, alone

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


def _start(config: ImageConfig, seconds: float) -> _Child:
    """A child that is ready for its first image."""
    for _ in range(TRIES):
        child = _spawn()
        with contextlib.suppress(EOFError, OSError):
            child.pipe.send((config, seconds))
            if child.pipe.poll(START_SECONDS) and child.pipe.recv_bytes() == READY:
                return child
        child.process.kill()
        end = _end_of(child.process.wait())
    raise RuntimeError(f"the child of careful mode does not start: {end}")


def _spawn() -> _Child:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.measure.careful", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return _Child(process, ours)


READY = b"ready"


def _serve(pipe: Connection) -> None:
    """The child: rows for images until the parent hangs up."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file may be as large as its memory
    config, seconds = pipe.recv()
    image.facts(_NOTHING, config)  # loads the language model
    with limits.memory_limit(limits.memory(config)), contextlib.suppress(EOFError):
        pipe.send_bytes(READY)
        while True:
            shown = pipe.recv()
            with _alarm(2 * seconds):
                row = _row(shown, config)
            pipe.send_bytes(_as_bytes(row))


_NOTHING = PoolImage("", "", 0, 0, "", caption="a few words", error="none")


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """The parent ends a child that hangs; one whose parent died first ends itself."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _row(shown: PoolImage, config: ImageConfig) -> dict[str, Any]:
    try:
        return image.facts(shown, config)
    except MemoryError:
        reason = OUT_OF_MEMORY
    except Exception as error:  # a fault of ours that one image in a billion finds
        reason = f"measuring_failed: {type(error).__name__}"
    return image.facts(replace(shown, image=b"", error=reason), config)


def _as_table(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=ledger.IMAGE_SCHEMA)


def _as_bytes(row: dict[str, Any]) -> pa.Buffer:
    """Arrow, not pickle: what a decoder has taken over must not run code in the parent."""
    table, sink = _as_table(row), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
