"""headrace's search over a folder: decode, hash, find pairs. Prints seconds; writes the pairs."""

import argparse
import json
import time
from multiprocessing import Pool
from multiprocessing.pool import Pool as Processes
from pathlib import Path

import numpy as np

from pipeline.decide.near import Index
from pipeline.decide.views import MIN_QUALITY, WHOLE, View, compared
from pipeline.decide.views import hashes as unpacked
from pipeline.format.images import open_image
from pipeline.measure.hashes import Look, perceptual, sha256
from pipeline.measure.image import small_copies
from tests.benchmarks.duplicates.planted import same_bytes


def measured(path: Path) -> tuple[str, str, Look | None]:
    """Name, digest and perceptual hashes of a file, as `headrace measure` gets them."""
    data = path.read_bytes()
    return path.name, sha256(data), perceptual(small_copies(open_image(data))[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--radius", type=int, required=True)
    parser.add_argument("--window-radius", type=int, default=-1, help="below 0: none")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    window_radius = given.window_radius if given.window_radius >= 0 else None
    begin = time.perf_counter()
    with Pool(given.processes) as pool:
        facts = pool.map(measured, sorted(given.folder.iterdir()), chunksize=64)
        hashed = time.perf_counter()
        views = compared(given.radius, window_radius)
        found = {view: search(pool, facts, view, views[view], given.processes) for view in views}
    same = same_bytes({name: digest for name, digest, _ in facts})
    done = time.perf_counter()
    whole = same + found.pop(WHOLE)
    windows = [pair for pairs in found.values() for pair in pairs]
    given.out.write_text(json.dumps({"whole": whole, "windows": windows}))
    print(json.dumps({"hash": hashed - begin, "search": done - hashed}))


def search(
    pool: Processes, facts: list[tuple[str, str, Look | None]], view: View, radius: int, blocks: int
) -> list[tuple[str, str, int]]:
    """All pairs of one view, each process searching a block of the pictures."""
    seen = [(name, look) for name, _, look in facts if look]
    good = [one for one in seen if getattr(one[1], view.quality) >= MIN_QUALITY]
    hashes = unpacked([getattr(look, view.hashes) for _, look in good], view)
    step = -(-len(hashes) // blocks)
    starts = range(0, len(hashes), step)
    found = pool.starmap(search_block, [(hashes, at, step, radius) for at in starts])
    return [(good[i][0], good[j][0], bits) for block in found for i, j, bits in block if i != j]


def search_block(hashes: np.ndarray, at: int, step: int, radius: int) -> list[tuple[int, int, int]]:
    """One block of queries against all."""
    i, j, bits = Index(hashes[:, 0]).search(hashes[at : at + step], radius)
    return list(zip((i + at).tolist(), j.tolist(), bits.tolist(), strict=True))


if __name__ == "__main__":
    main()
