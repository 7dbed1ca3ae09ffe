"""The same pictures for all that score, in tars of as many samples each."""

import io
import tarfile
from collections.abc import Iterator
from itertools import chain, groupby, islice
from pathlib import Path

Member = tuple[tarfile.TarInfo, bytes]

DEMO = Path(__file__).parents[3] / "jobs" / "demo_data" / "trusted"
"""Drawings of some 10 kB, smaller than what the web has."""


def repack(pool: Path, out: Path, tars: int, batch: int, most: int) -> tuple[list[str], int]:
    """Takes the first of a pool's samples, `most` at most; returns the paths of `tars` tars, and
    how many samples are in them all.

    Each has as many, and full batches of them. Raises SystemExit if the pool has too few.
    """
    samples = list(islice(_samples(_tars(pool)), most))
    each = len(samples) // tars // batch * batch
    if not each:
        raise SystemExit(f"{pool}: {len(samples)} samples do not fill {tars} tars of {batch}")
    paths = [out / f"{number:08d}.tar" for number in range(tars)]
    for number, path in enumerate(paths):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for info, data in chain(*samples[number * each : (number + 1) * each]):
                tar.addfile(info, io.BytesIO(data))
    return [str(path) for path in paths], each * tars


def _tars(pool: Path) -> list[Path]:
    """What throughput.pool wrote, or any folder of tars."""
    folder = pool / "tars" if (pool / "tars").is_dir() else pool
    return sorted(folder.glob("*.tar"))


def _samples(paths: list[Path]) -> Iterator[list[Member]]:
    for path in paths:
        with tarfile.open(path) as tar:
            members = ((info, tar.extractfile(info).read()) for info in tar)
            for _, sample in groupby(members, key=lambda member: Path(member[0].name).stem):
                yield list(sample)
