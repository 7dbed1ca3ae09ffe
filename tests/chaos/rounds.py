"""One round: a curation is disturbed once, and must come out as if it had not been."""

import random
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import cluster
from tests.chaos.processes import kill, kill_session, of_session
from tests.conftest import Headrace
from tests.jobs import curation
from tests.jobs.test_curate import tiny_clip

KINDS = ("driver", "worker", "actor", "node")
TITLES = {"worker": r"ray::(?!IDLE|_Actor|\w*Agent)", "actor": "ray::_Actor"}
"""How Ray names the processes that do our work; the agents of its own have other names."""

SPAN = {"driver": 1, "worker": 0.5, "actor": 0.2, "node": 0.8}
"""How long such processes are there, as a share of an undisturbed run."""

LIMIT = 240
"""Seconds in which a curation of the demo pool must end, killed processes and all."""


@dataclass(frozen=True)
class Pool:
    """What is curated again and again, and what must come of it."""

    fields: dict
    contents: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Round:
    """What happened. `again`: whether the command had to be run a second time."""

    kind: str
    seed: int
    moment: float
    killed: str
    finished: int
    again: bool
    same: bool
    kept: bool
    """Whether what was measured before the kill was left as it was."""


def undisturbed(folder: Path) -> Pool:
    """Curates the demo pool, scored by a tiny model, once in peace."""
    folder.mkdir(parents=True)
    fields = {"measure": {"clip": {"model": tiny_clip(folder / "model")}}}
    config = curation.config_file(folder, **fields)
    began = time.monotonic()
    done = Headrace()("curate", config, "--workers", "2", timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return Pool(fields, curation.contents(folder / "dataset"), time.monotonic() - began)


def play(kind: str, seed: int, folder: Path, pool: Pool) -> Round:
    """Disturbs one run at a moment that the seed gives, and runs again where that is needed.

    The moment counts from when there is first somebody of this kind to kill. One at which nobody
    is there any more is halved until somebody is.
    """
    moment = random.Random(f"{kind} {seed}").uniform(0, SPAN[kind] * pool.seconds)
    for number in range(5):
        place = folder / str(number)
        if kind == "node":
            with cluster.running(place / "ray", nodes=2) as nodes:
                found = _play(kind, seed, moment, place, pool, nodes)
        else:
            found = _play(kind, seed, moment, place, pool, None)
        if found.killed:
            return found
        moment /= 2
    raise AssertionError(f"{kind} {seed}: there was never anybody to kill")


def _play(
    kind: str, seed: int, moment: float, folder: Path, pool: Pool, nodes: cluster.Cluster | None
) -> Round:
    folder.mkdir(parents=True, exist_ok=True)
    config, dataset = curation.config_file(folder, **pool.fields), folder / "dataset"
    options = {"env": nodes.environment} if nodes else {}
    words = [] if nodes else ["--workers", "2"]
    with (folder / "log").open("w") as log:
        process = Headrace().start("curate", config, *words, stderr=log, stdout=log, **options)
        draw = random.Random(f"{kind} {seed} {moment}")
        killed, before = _disturb(kind, process, nodes, dataset, draw, moment)
        code = process.wait(LIMIT)
    assert code == 0 or (kind == "driver" and killed), (folder / "log").read_text()
    if code:
        again = Headrace()("curate", config, "--workers", "2", timeout=LIMIT)
        assert again.returncode == 0, again.stderr
    same = curation.contents(dataset) == pool.contents
    kept = {path: path.stat().st_mtime_ns for path in before} == before
    return Round(kind, seed, round(moment, 1), killed, len(before), code != 0, same, kept)


def _disturb(
    kind: str,
    process: subprocess.Popen,
    nodes: cluster.Cluster | None,
    dataset: Path,
    draw: random.Random,
    moment: float,
) -> tuple[str, dict[Path, int]]:
    """Kills at the moment, or as soon after it as there is a victim; what was finished then."""
    while process.poll() is None and not victims(kind, process.pid, nodes):
        time.sleep(0.02)
    time.sleep(moment)
    while process.poll() is None:
        found = victims(kind, process.pid, nodes)
        if found:
            pid = draw.choice(sorted(found))
            before = {p: p.stat().st_mtime_ns for p in dataset.glob("ledger/*/*/*.parquet")}
            if nodes:
                gone = len(of_session(pid))
                kill_session(pid)
                return f"node 2, {gone} processes", before
            if kill(pid):
                return found[pid], before
        time.sleep(0.01)
    return "", {}


def victims(kind: str, session: int, nodes: cluster.Cluster | None = None) -> dict[int, str]:
    """Who can be killed now: process id → what it is."""
    if nodes:
        assert nodes.second
        return {nodes.second: "node"}
    if kind == "driver":
        return {session: "headrace curate"}
    titles = {pid: title.split("\0")[0] for pid, title in of_session(session).items()}
    return {pid: title for pid, title in titles.items() if re.match(TITLES[kind], title)}
