"""The floor: the loose files read and decoded to RGB in two processes, nothing else."""

import shutil
import time
from pathlib import Path

import work


def decode_files(paths: list[Path]) -> int:
    return sum(work.decode(path.read_bytes()).width for path in paths)


def main() -> None:
    given = work.arguments()
    shutil.rmtree(given.out, ignore_errors=True)
    paths = sorted((given.pool / "images").iterdir())
    with work.processes() as processes:
        processes.map(decode_files, [paths[:32]] * work.WORKERS, chunksize=1)
        begin = time.monotonic()
        processes.map(decode_files, [paths[n::64] for n in range(64)], chunksize=1)
        work.say(time.monotonic() - begin)


if __name__ == "__main__":
    main()
