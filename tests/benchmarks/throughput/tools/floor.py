"""The floor: the loose files read and decoded to RGB in two processes, nothing else."""

import shutil
import time
from pathlib import Path

import same_work


def decode_files(paths: list[Path]) -> int:
    return sum(same_work.decode(path.read_bytes()).width for path in paths)


def main() -> None:
    given = same_work.arguments()
    shutil.rmtree(given.out, ignore_errors=True)
    paths = sorted((given.pool / "images").iterdir())
    with same_work.processes() as processes:
        processes.map(decode_files, [paths[:32]] * same_work.WORKERS, chunksize=1)
        begin = time.monotonic()
        processes.map(decode_files, [paths[n::64] for n in range(64)], chunksize=1)
        same_work.say(time.monotonic() - begin)


if __name__ == "__main__":
    main()
