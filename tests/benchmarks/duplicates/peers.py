"""A peer's search over a folder, in the peer's own environment: prints seconds, writes the pairs.

    PYTHON peers.py imagededup|fastdup FOLDER OUT --limit D --processes N

imagededup: its perceptual hash, the search that it chooses by itself. fastdup: 20 neighbours of
each image, for a picture may have 12 copies here; its distance is a cosine, told as 1 - cosine.
"""

import argparse
import json
import os
import tempfile
import time


def imagededup(folder: str, limit: float, processes: int) -> tuple[list, float, float]:
    from imagededup.methods import PHash

    begin = time.perf_counter()
    method = PHash(verbose=False)
    encoded = method.encode_images(image_dir=folder, num_enc_workers=processes)
    hashed = time.perf_counter()
    found = method.find_duplicates(
        encoding_map=encoded,
        max_distance_threshold=int(limit),
        scores=True,
        num_dist_workers=processes,
    )
    done = time.perf_counter()
    pairs = [(name, other, d) for name, others in found.items() for other, d in others]
    return pairs, hashed - begin, done - hashed


def fastdup(folder: str, limit: float, processes: int) -> tuple[list, float, float]:
    import fastdup as library

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        data = library.create(work_dir=work, input_dir=folder)
        data.run(
            threshold=1 - limit,
            nearest_neighbors_k=20,
            num_threads=processes,
            overwrite=True,
            print_summary=False,
            verbose=False,
        )
        found = data.similarity()
    done = time.perf_counter()
    names = [found[c].map(os.path.basename) for c in ("filename_from", "filename_to")]
    return list(zip(*names, 1 - found.distance, strict=True)), done - begin, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["imagededup", "fastdup"])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--limit", type=float, required=True)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    search = {"imagededup": imagededup, "fastdup": fastdup}[given.peer]
    pairs, hashing, searching = search(given.folder, given.limit, given.processes)
    with open(given.out, "w") as file:
        json.dump({"whole": [(a, b, float(d)) for a, b, d in pairs], "windows": []}, file)
    print("\n" + json.dumps({"hash": hashing, "search": searching}))


if __name__ == "__main__":
    main()
