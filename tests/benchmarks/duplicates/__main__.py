"""Duplicates found, and pictures wrongly called duplicates: headrace, imagededup and fastdup.

    python3 -m venv PEERS && PEERS/bin/pip install imagededup fastdup               once
    python -m tests.benchmarks.duplicates --cache CACHE --peer-python PEERS/bin/python
    python -m tests.benchmarks.duplicates --cache CACHE --peer-python PEERS/bin/python \\
        --speed 2000 20000 --runs 3

The first run fetches three Debian packages (339 MB, `apt-get download`; no root, nothing is
installed) and plants copies of 400 of their pictures, twelve of each, among look-alikes: pictures
of one series, and scenes with other objects. Recall is the share of copies that are paired with
their original. A false pair is one of two different pictures. Twins are look-alikes so alike that
a grey thumbnail hardly tells them apart (`pictures.TWINS`); their pairs are counted apart.

With --speed, the tools hash and search so many images each, in turns, on the same processors, and
the table gives medians. Nothing else should run beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from pipeline.decide.views import PDQ_RADIUS, WINDOW_RADIUS
from tests.benchmarks.duplicates import pictures, planted
from tests.benchmarks.duplicates.planted import LOOK_ALIKE, ORIGINAL, TWIN, Truth, near
from tests.benchmarks.duplicates.transforms import HARD, TRANSFORMS

RADII = (15, 20, 25, 28, 31, 36, 40)
NO_WINDOWS, WINDOWS = -1, (15, 20)
OURS, PHASH, FASTDUP = "headrace", "imagededup", "fastdup"
LIMITS = {
    OURS: [(f"r ≤ {radius}", (radius, NO_WINDOWS)) for radius in RADII]
    + [(f"r ≤ {radius}, windows ≤ {WINDOW_RADIUS}", (radius, WINDOW_RADIUS)) for radius in RADII]
    + [(f"r ≤ {PDQ_RADIUS}, windows ≤ {bits}", (PDQ_RADIUS, bits)) for bits in WINDOWS],
    PHASH: [(f"d ≤ {bits}", (bits, NO_WINDOWS)) for bits in (4, 10)],
    FASTDUP: [(f"≥ {cosine}", (1 - cosine, NO_WINDOWS)) for cosine in (0.98, 0.96, 0.9)],
}
"""Labels, and the limits of whole pictures and of windows."""
SPEED_LIMIT = {
    OURS: (PDQ_RADIUS, WINDOW_RADIUS),
    PHASH: (10, NO_WINDOWS),
    FASTDUP: (0.1, NO_WINDOWS),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.duplicates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="where packages and pools are kept")
    add("--peer-python", type=Path, help="with imagededup and fastdup; else only ours")
    add("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS), help="which tools")
    add("--seed", type=int, default=planted.SEED, help="which pictures are copied (default 7)")
    add("--speed", type=int, nargs="+", metavar="N", help="time the tools on N images instead")
    add("--runs", type=int, default=3, help="runs of each tool with --speed (default 3)")
    add("--cores", default="0,1", help="processors to use, as numbers (default 0,1)")
    return parser.parse_args()


def run(
    tool: str, given: argparse.Namespace, folder: Path, limits: tuple[float, float]
) -> tuple[dict, dict]:
    """Pairs, as (file, file, distance), of whole pictures and of windows; seconds for each step."""
    out = given.cache / f"pairs-{tool}.json"
    more = [str(folder), str(out), "--processes", str(len(os.sched_getaffinity(0)))]
    if tool == OURS:
        command = [sys.executable, "-m", "tests.benchmarks.duplicates.ours"]
        command += [*more, "--radius", str(limits[0]), "--window-radius", str(limits[1])]
    else:
        script = str(Path(__file__).with_name("peers.py"))
        command = [str(given.peer_python), script, tool, *more, "--limit", str(limits[0])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stderr[-2000:]}")
    return json.loads(out.read_text()), json.loads(done.stdout.strip().splitlines()[-1])


def recall_table(given: argparse.Namespace, tools: list[str], root: Path) -> None:
    settings = f"{given.seed}-{planted.ORIGINALS}-{pictures.TWINS}"
    folder = given.cache / f"planted-{settings}"
    truth = planted.plant(root, folder, given.seed)
    print(
        f"{truth.count(ORIGINAL)} originals, {len(TRANSFORMS)} copies of each, "
        f"{truth.count(LOOK_ALIKE)} look-alikes, {truth.count(TWIN)} twins\n"
    )
    names = [*(name for name in TRANSFORMS if name not in HARD), *HARD]
    heads = ["", "recall but for crop, rotation", "false pairs", "pairs of twins", *names]
    print("| " + " | ".join(heads) + " |")
    print("|---" * (len(names) + 4) + "|")
    for tool in tools:
        whole, windows = zip(*(limits for _, limits in LIMITS[tool]), strict=True)
        pairs, _ = run(tool, given, folder, (max(whole), max(windows)))
        for label, limits in LIMITS[tool]:
            found = near(pairs["whole"], limits[0] + 1e-9) | near(pairs["windows"], limits[1])
            print(row(f"{tool} {label}", truth, found, names), flush=True)


def row(label: str, truth: Truth, found: set[tuple[str, str]], names: list[str]) -> str:
    """One line of the table."""
    hits = {name: [pair in found for pair in map(_ordered, truth.copies(name))] for name in names}
    goal = [hit for name in names if name not in HARD for hit in hits[name]]
    cells = [f"{statistics.mean(goal):.3f}", len(truth.false(found)), truth.twins(found)]
    cells += [f"{statistics.mean(hits[name]):.2f}" for name in names]
    return f"| {label} | " + " | ".join(map(str, cells)) + " |"


def _ordered(pair: tuple[str, str]) -> tuple[str, str]:
    return min(pair), max(pair)


def speed_table(given: argparse.Namespace, tools: list[str], root: Path) -> None:
    print("| images | | hash, s | search, s | sum, s | spread | times headrace's |")
    print("|---|---|---|---|---|---|---|")
    for count in given.speed:
        folder = given.cache / f"crowd-{count}"
        planted.crowd(root, folder, count)
        seconds: dict[str, list[dict]] = {tool: [] for tool in tools}
        for turn in range(given.runs):
            for tool in tools if turn % 2 == 0 else tools[::-1]:
                seconds[tool].append(run(tool, given, folder, SPEED_LIMIT[tool])[1])
        for tool in tools:
            print(_speeds(count, tool, seconds), flush=True)


def _speeds(count: int, tool: str, seconds: dict[str, list[dict]]) -> str:
    sums, ours = ([run["hash"] + run["search"] for run in seconds[name]] for name in (tool, OURS))
    ratio = statistics.median(one / other for one, other in zip(sums, ours, strict=True))
    hashing, searching = (
        statistics.median(run[part] for run in seconds[tool]) for part in ("hash", "search")
    )
    return (
        f"| {count:,} | {tool} | {hashing:.1f} | {searching:.1f} | {statistics.median(sums):.1f} | "
        f"{min(sums):.1f} to {max(sums):.1f} | {ratio:.1f} |"
    )


def main() -> None:
    given = arguments()
    os.sched_setaffinity(0, {int(core) for core in given.cores.split(",")})
    root = pictures.fetch(given.cache)
    tools = [tool for tool in given.only if tool == OURS or given.peer_python]
    (speed_table if given.speed else recall_table)(given, tools, root)


if __name__ == "__main__":
    main()
