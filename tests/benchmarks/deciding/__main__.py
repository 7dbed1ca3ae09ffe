"""Deciding at scale: wall clock and peak memory by number of ledger rows, on Ray on this machine.

    python -m tests.benchmarks.deciding --rows 1e4 1e5 1e6 1e7
    python -m tests.benchmarks.deciding --near --rows 1e4 3e4 1e5 3e5

The first has rules, an exact cut at one half and equal bytes; it fits seconds = c + a·N. The second
has the search for near pairs alone, over all rows; it fits a·N + b·N² through the origin and prints
the N that takes an hour. The ledger is made up: see ledger.py.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from jobs import cluster
from jobs.engine import OnRay
from pipeline.decide.config import DecideConfig
from pipeline.decide.decide import decide
from pipeline.decide.judge import prepare
from pipeline.decide.layout import WriteConfig
from tests.benchmarks.deciding.ledger import make
from tests.benchmarks.memory import peak

LINEAR = {
    "rules": {"min_side": 200, "max_aspect": 3, "min_caption_words": 3},
    "cuts": [{"top_fraction": 0.5}],
    "duplicates": {"radius": None},
}
NEAR = {"duplicates": {}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", type=float, required=True, help="sizes of the ledger")
    parser.add_argument("--near", action="store_true", help="the search for near pairs")
    parser.add_argument(
        "--work", default=None, help="folder for the ledgers, by default a temporary one"
    )
    options = parser.parse_args()
    print(f"{'rows':>12} {'seconds':>9} {'rows/s':>10} {'peak GB':>8}  kept")
    seconds = []
    with (
        tempfile.TemporaryDirectory(dir=options.work) as folder,
        peak() as memory,
        cluster.session(),
    ):
        for rows in map(int, options.rows):
            memory.nbytes = 0
            seconds.append(measure(Path(folder) / str(rows), rows, options.near, memory))
    fit(np.array(options.rows), np.array(seconds), options.near)


def measure(folder: Path, rows: int, near: bool, memory) -> float:
    pool = make(folder, rows, near)
    config = DecideConfig.model_validate(NEAR if near else LINEAR)
    begin = time.monotonic()
    found = decide(OnRay(), pool, prepare(config, None), config, WriteConfig())
    seconds = time.monotonic() - begin
    figures = f"{rows:>12,} {seconds:>9.1f} {rows / seconds:>10,.0f} {memory.nbytes / 1e9:>8.2f}"
    print(f"{figures}  {found.counts['kept']:,}", flush=True)
    return seconds


def fit(rows: np.ndarray, seconds: np.ndarray, near: bool) -> None:
    if near:
        powers = np.stack([rows, rows**2], axis=1)
        a, b = np.linalg.lstsq(powers / seconds[:, None], np.ones_like(seconds), rcond=None)[0]
        hour = (-a + np.sqrt(a * a + 4 * b * 3600)) / (2 * b)
        print(f"seconds = {a:.3e} N + {b:.3e} N^2 (least relative error); an hour: N = {hour:.3g}")
    elif len(rows) > 1:
        a, c = np.polyfit(rows, seconds, 1)
        print(f"seconds = {c:.1f} + {a:.3e} N")


if __name__ == "__main__":
    main()
