"""Build jobs/demo_data from Debian's openclipart packages (public-domain dedication)."""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from demo_data import catalogue, samples, web_noise
from demo_data.readme import write_readme
from demo_data.write import Placed, cut, write_shards, write_truth

OUTPUT = Path(__file__).parents[1] / "jobs" / "demo_data"
PACKAGES = ["openclipart-png", "openclipart-svg"]


def fetch(folder: Path) -> None:
    """Download the two packages and unpack them; needs apt's lists, not root."""
    subprocess.run(["apt-get", "download", *PACKAGES], cwd=folder, check=True)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, folder], check=True)


def write_target(folder: Path, parts: samples.Parts) -> dict[str, list[Placed]]:
    """The labelled splits; a picture's label is its top folder in openclipart."""
    placed = {}
    for split, shards, prefix in [("train", 2, 10_000_000), ("val", 1, 20_000_000)]:
        pictures = samples.keyed.shuffled(getattr(parts, split), "order", lambda p: p.path)
        labelled = [samples.original(p, part=split, label=p.category) for p in pictures]
        placed[split] = write_shards(
            folder / "target", labelled, shards, stem=f"{split}-", digits=5, prefix=prefix
        )
    return placed


def write_pool(folder: Path, parts: samples.Parts, val: list[Placed]) -> list[Placed]:
    """The pool and its truth. Of the tail behind the damage only the first sample is a row."""
    published = [*parts.train, *parts.val, *parts.trusted, *parts.pool]
    body, tail = web_noise.build(parts.pool, parts.val, web_noise.Neighbours(published))
    placed = write_shards(folder / "pool", [*body, *tail], 6)
    pool = placed[: len(body) + 1]
    cut(folder / "pool" / pool[-1].shard, pool[-1])
    keys = {place.sample.name: place.key for place in [*pool, *val]}
    write_truth(folder / "truth.parquet", pool, keys)
    return pool


def build(source: Path, output: Path, processes: int) -> str:
    """Write every part anew and return a summary."""
    pictures = catalogue.distinct(catalogue.read_all(source, processes))
    parts = samples.split(pictures, web_noise.POOL_PICTURES)
    for part in ("pool", "trusted", "target"):
        shutil.rmtree(output / part, ignore_errors=True)
    trusted = [samples.original(picture, part="trusted") for picture in parts.trusted]
    write_shards(output / "trusted", trusted, 6)
    target = write_target(output, parts)
    pool = write_pool(output, parts, target["val"])
    counts = {
        "pool/*.tar": len(pool),
        "trusted/*.tar": len(trusted),
        "target/train-*.tar": len(target["train"]),
        "target/val-*.tar": len(target["val"]),
    }
    return write_readme(output, pool, counts, samples.CLASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="?", type=Path, help="folder with both, unpacked")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        packages = args.packages or Path(scratch)
        if args.packages is None:
            fetch(packages)
        print(build(packages / "usr/share/openclipart", args.output, args.processes))
    size = sum(file.stat().st_size for file in args.output.rglob("*") if file.is_file())
    print(f"\n{args.output}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
