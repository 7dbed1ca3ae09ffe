"""`make chaos`: twenty rounds of each kind, and a log of them as a page of Markdown."""

import argparse
import platform
import shutil
import sys
import tempfile
from dataclasses import astuple
from pathlib import Path

from tests.chaos import rounds as curation
from tests.chaos import trainer
from tests.chaos.rounds import Pool, Round, undisturbed

KINDS = (*curation.KINDS, trainer.KIND)

HEAD = """# Twenty kills of each kind

`make chaos` wrote this page: `python -m tests.chaos --rounds {rounds} --seed {seed}` on {machine}.
Each round but a `save` curates the demo pool ({files} files, {seconds:.0f} s in peace) in processes
of its own, sends one SIGKILL at a moment that the seed gives, and runs the command again only if it
did not end well by itself. "Same" means that every file of the dataset has the bytes of an
undisturbed run; "kept" that no part that was in the ledger before the kill was measured again.

In a `save`, two ranks of a trainer save one checkpoint after another, and one of them is killed.
"Same" means that the newest complete checkpoint holds the numbers of its step, loads on one rank,
and that this rank saves on; "kept" that what was said to be saved before the kill is there. "Parts"
are complete checkpoints, of which two are kept.

| kind | seed | after, s | killed | parts finished | run again | same | kept |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Plays the rounds; the exit code says whether all came out as they must."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--kind", choices=KINDS, action="append", help="all by default")
    parser.add_argument("--log", type=Path, help="the page to write")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    pool = undisturbed(work / "undisturbed")
    played = []
    for number in range(options.rounds):
        for kind in options.kind or KINDS:
            seed = options.seed + number
            played.append(play(kind, seed, work / f"{kind}-{seed}", pool))
            print(line(played[-1]), flush=True)
            shutil.rmtree(work / f"{kind}-{seed}")
    if options.log:
        options.log.write_text(page(played, pool, options.rounds, options.seed))
    shutil.rmtree(work)
    return 0 if all(one.same and one.kept for one in played) else 1


def play(kind: str, seed: int, folder: Path, pool: Pool) -> Round:
    """A round of the kind."""
    if kind == trainer.KIND:
        return trainer.play(seed, folder)
    return curation.play(kind, seed, folder, pool)


def page(played: list[Round], pool: Pool, rounds: int, seed: int) -> str:
    """The log: what was run, and a row for each round."""
    machine = f"{platform.system()} {platform.machine()}"
    head = HEAD.format(
        rounds=rounds, seed=seed, machine=machine, files=len(pool.contents), seconds=pool.seconds
    )
    good = sum(one.same and one.kept for one in played)
    rows = [line(one) for one in sorted(played, key=lambda one: (one.kind, one.seed))]
    return head + "\n".join(rows) + f"\n\n{good} of {len(played)} rounds came out as they must.\n"


def line(one: Round) -> str:
    """A row of the table."""
    words = {True: "yes", False: "no"}
    cells = (words[v] if isinstance(v, bool) else str(v) for v in astuple(one))
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
