"""headrace's search over a folder: decode, hash, find pairs. Prints seconds; writes the pairs."""

import argparse
import json
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from pipeline.decide.near import MIN_QUALITY, Index
from pipeline.format.images import decode
from pipeline.measure.hashes import perceptual, sha256
from tests.benchmarks.duplicates.planted import same_bytes


def measured(path: Path) -> tuple[str, str, tuple[bytes, int] | None]:
    """Name, digest and perceptual hash of a file, as `headrace measure` gets them."""
    data = path.read_bytes()
    return path.name, sha256(data), perceptual(decode(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--radius", type=int, default=31)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    begin = time.perf_counter()
    with Pool(given.processes) as pool:
        facts = pool.map(measured, sorted(given.folder.iterdir()), chunksize=64)
        hashed = time.perf_counter()
        good = [(name, look[0]) for name, _, look in facts if look and look[1] >= MIN_QUALITY]
        hashes = np.frombuffer(b"".join(look for _, look in good), np.uint8).reshape(-1, 8, 32)
        step = -(-len(hashes) // given.processes)
        blocks = [(hashes, at, step, given.radius) for at in range(0, len(hashes), step)]
        found = pool.starmap(search, blocks)
    pairs = [(good[i][0], good[j][0], bits) for block in found for i, j, bits in block if i != j]
    pairs += same_bytes({name: digest for name, digest, _ in facts})
    done = time.perf_counter()
    given.out.write_text(json.dumps(pairs))
    print(json.dumps({"hash": hashed - begin, "search": done - hashed}))


def search(hashes: np.ndarray, at: int, step: int, radius: int) -> list[tuple[int, int, int]]:
    """One block of queries against all."""
    i, j, bits = Index(hashes[:, 0]).search(hashes[at : at + step], radius)
    return list(zip((i + at).tolist(), j.tolist(), bits.tolist(), strict=True))


if __name__ == "__main__":
    main()
