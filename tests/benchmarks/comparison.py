"""What every comparison with peers does alike: its arguments, its rows, its alternating runs."""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from . import command

R = TypeVar("R")
"""A row of the table: one tool, one way to run it."""

T = TypeVar("T")


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """With the arguments that all have; `name` is the benchmark's folder."""
    made = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--pool", type=folder, required=True, help="what throughput.pool wrote")
    add("--peers", type=folder, required=True, help=f"what {name}/install.sh wrote")
    add("--runs", type=int, default=5, help="timed runs of each row (default 5)")
    add("--only", nargs="+", metavar="WORD", help="only rows with one of these in their name")
    add("--cores", default="0,1", help="processors to use, as numbers (default 0,1)")
    add("--limit", type=float, default=180, help="seconds after which a run failed (default 180)")
    add("--work", type=folder, help="scratch folder, on a local disk (default: a temporary one)")
    add("--json", type=Path, help="where to write every single run")
    add("--list", action="store_true", help="name the rows, run nothing")
    return made


def folder(text: str) -> Path:
    """A tool may run in another one."""
    return Path(text).absolute()


def chosen(
    given: argparse.Namespace, rows: Mapping[str, R], missing: Callable[[R, Path], str | None]
) -> list[R]:
    """Those of the rows, by name, that are asked for and can run; says why of each that cannot."""
    found = []
    for name, row in rows.items():
        if given.only and not any(word.lower() in name.lower() for word in given.only):
            continue
        why = missing(row, given.peers)
        if why or given.list:
            print(f"{name}: {why or 'ready'}", flush=True)
        if not why:
            found.append(row)
    return found


def begin(given: argparse.Namespace, name: str) -> tuple[dict[str, Any], Path]:
    """Binds this process, and all that it starts, to the cores. Returns what is known of the pool,
    and the scratch folder."""
    os.sched_setaffinity(0, [int(core) for core in given.cores.split(",")])
    command.adopt_orphans()
    work = given.work or Path(tempfile.mkdtemp(prefix=f"{name}-"))
    work.mkdir(parents=True, exist_ok=True)
    return json.loads((given.pool / "pool.json").read_text()), work


def tried(what: str, call: Callable[[], T]) -> T | None:
    """What `call` returns; None, and a line that says why, where it failed."""
    try:
        result = call()
    except (command.Failed, ValueError, KeyError, IndexError) as error:
        print(f"{what}: {error or type(error).__name__}", flush=True)
        return None
    print(what, flush=True)
    return result


def alternating(todo: list[R], runs: int, run: Callable[[str, R], T | None]) -> dict[R, list[T]]:
    """Runs each row once, then all again in the opposite order. Results by row, in the order of
    the table; a row that fails once (None) is not run again."""
    found: dict[R, list[T]] = {row: [] for row in todo}
    failed: set[R] = set()
    for number in range(runs):
        for row in todo if number % 2 == 0 else reversed(todo):
            if row in failed:
                continue
            if result := run(f"run {number + 1}", row):
                found[row].append(result)
            else:
                failed.add(row)
    return {row: results for row, results in found.items() if results}
