"""What is measured of a row: its conversion, one epoch, a resume, and other numbers of ranks."""

import json
import shutil
import socket
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .. import command, memory
from . import rows
from .rows import Row

ELASTIC = ((4, 4), (3, 4), (2, 4))
"""Ranks, and steps that they make, one after the other; all of it beside the first number alone."""

ELASTIC_BATCH = 24


@dataclass(frozen=True)
class Bench:
    """Where things are."""

    peers: Path
    pool: Path
    work: Path
    batch: int
    batches: int
    """In an epoch."""
    limit: float
    """Seconds after which a run failed."""

    def line(self, row: Row, *more: object) -> list[str]:
        """The command that runs a row's tool."""
        return rows.command(row, self.peers, self.pool, self.data(row), *more)

    def data(self, row: Row) -> Path:
        """A folder for what the tool makes of the pool: variants of a tool share it."""
        return self.work / "data" / row.data

    def log(self, row: Row, what: str) -> Path:
        name = "".join(sign if sign.isalnum() else "-" for sign in f"{row.tool} {what}")
        return self.work / f"{name}.log"

    def run(self, row: Row, what: str, *more: object) -> command.Said:
        """Runs a row's tool. Raises command.Failed."""
        env = rows.environment(row, self.peers)
        return command.run(self.line(row, *more), env, self.log(row, what), self.limit)


class Conversion(NamedTuple):
    seconds: float
    nbytes: int


class Epoch(NamedTuple):
    rate: float
    """Images a second, of all processors, after a warm-up."""
    first: float
    """Seconds from the start of the process to the first batch; 0 where there are none."""
    pillow: str
    busy: float
    """Share of the machine that others used just before."""


class Look(NamedTuple):
    """What one run more told, which was not timed."""

    peak: int
    """Bytes."""
    keys: list[list[str]]


def convert(bench: Bench, row: Row) -> Conversion:
    """Makes what the tool reads anew."""
    folder = bench.data(row)
    shutil.rmtree(folder, ignore_errors=True)
    said = bench.run(row, "convert", "--convert", "--batches", 0)
    nbytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Conversion(said.told["seconds"], nbytes)


def epoch(bench: Bench, row: Row, *more: object) -> Epoch:
    """One timed epoch."""
    others = busy()
    said = bench.run(row, "epoch", *_epoch(bench), *more)
    told = said.told
    first = told["first_at"] - said.begun if row.reads else 0.0
    return Epoch(told["images"] / told["seconds"], first, told["pillow"], others)


def from_store(bench: Bench, row: Row, url: str) -> Epoch:
    """The same of what a store holds, by a tool that has nothing of it on this machine yet."""
    away = replace(bench, work=bench.work / "s3")
    shutil.rmtree(away.data(row), ignore_errors=True)
    away.work.mkdir(exist_ok=True)
    return epoch(away, row, "--store", url)


def look(bench: Bench, row: Row) -> Look:
    """One epoch more, for the keys and the memory: looking at memory takes time of its own."""
    keys = bench.work / "keys.json"
    with memory.peak() as found:
        bench.run(row, "look", *_epoch(bench), "--keys", keys)
    return Look(found.nbytes, json.loads(keys.read_text()))


def _epoch(bench: Bench) -> tuple[object, ...]:
    return "--batch", bench.batch, "--batches", bench.batches


def resume(bench: Bench, row: Row, runs: int) -> tuple[list[float], list[float]]:
    """Seconds from the start of a process to its first batch: at step 0, and far from it."""
    state = bench.work / f"{row.data}.state.json"
    half = bench.batches // 2 if row is not rows.FAR else 1
    bench.run(row, "save", "--batch", bench.batch, "--batches", half, "--save", state)
    seconds: tuple[list[float], list[float]] = [], []
    for number in range(2 * runs):
        far = number % 2
        more = ("--state", state) if far else ()
        said = bench.run(row, "resume", "--batch", bench.batch, "--batches", 1, *more)
        seconds[far].append(said.told["first_at"] - said.begun)
    return seconds


def elastic(bench: Bench, row: Row) -> str:
    """Whether other numbers of ranks get the same samples and crops at every step; in words."""
    first, steps = ELASTIC[0][0], sum(steps for _, steps in ELASTIC)
    expected = _ranks(bench, row, first, steps, "whole", None)
    got: list[Counter[str]] = []
    before = None
    for ranks, steps in ELASTIC:
        name = f"ranks-{ranks}"
        try:
            got += _ranks(bench, row, ranks, steps, name, before)
        except command.Failed as error:
            return f"with {ranks} ranks: {error}"
        before = name
    if len(got) < len(expected):
        return f"{len(got)} of {len(expected)} steps"
    samples = _same([_names(step) for step in got], [_names(step) for step in expected])
    return f"samples: {samples}; crops: {_same(got, expected)}"


def _same(got: list[Counter[str]], expected: list[Counter[str]]) -> str:
    differ = [step for step in range(len(got)) if got[step] != expected[step]]
    if not differ:
        return f"the same at all {len(got)} steps"
    return f"others at {len(differ)} of {len(got)} steps, first at step {differ[0]}"


def _names(step: Counter[str]) -> Counter[str]:
    """The samples without their crops."""
    return Counter(one.split()[0] for one in step.elements())


def _ranks(
    bench: Bench, row: Row, ranks: int, steps: int, name: str, before: str | None
) -> list[Counter[str]]:
    """Keys and crops of each step over all ranks, which go on where those of `before` stopped."""
    files = [bench.work / f"{row.data}-{name}" / f"{rank}" for rank in range(ranks)]
    files[0].parent.mkdir(exist_ok=True)
    port, todo = _free_port(), []
    for rank, file in enumerate(files):
        more: list[object] = ["--batch", ELASTIC_BATCH, "--batches", steps]
        more += ["--crops", "--keys", f"{file}.keys", "--save", f"{file}.state"]
        if before:
            more += ["--state", bench.work / f"{row.data}-{before}" / f"{rank}.state"]
        env = rows.environment(row, bench.peers) | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        todo.append((bench.line(row, *more), env, bench.log(row, f"{name} rank {rank}")))
    command.run_together(todo, bench.limit)
    keys = [json.loads(Path(f"{file}.keys").read_text()) for file in files]
    return [Counter(key for batch in step for key in batch) for step in zip(*keys, strict=True)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def busy(seconds: float = 0.5) -> float:
    """Share of the processors' time that was used while this slept."""
    before = _jiffies()
    time.sleep(seconds)
    used, idle = (now - then for now, then in zip(_jiffies(), before, strict=True))
    return used / max(1, used + idle)


def _jiffies() -> tuple[int, int]:
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, idle
