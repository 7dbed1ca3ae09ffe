"""The README beside the demo data, with the counts of what was written."""

from collections import Counter
from pathlib import Path

from demo_data.write import Placed

MEANING = {
    "clean": "a picture with its own caption",
    "wrong_caption": "the caption of a picture of another category",
    "empty_caption": "no caption",
    "junk_caption": "a caption that says nothing: a file name, a slogan",
    "exact_duplicate": "the bytes of `of`, a clean pool sample",
    "recompressed": "`of` saved again as JPEG, quality 40-60",
    "resized": "`of` at 0.5-0.6 of its size",
    "reencoded": "`of` in another file format",
    "in_target_val": "`of`, a validation picture: as it is, recompressed or resized",
    "tiny": "longest side 12-23 pixels",
    "extreme_aspect": "a strip, 4.5-8 times as long as wide",
    "truncated": "an image file that stops at 30-60%",
    "html": "an error page named .jpg",
    "bomb": "a small valid PNG of 196 million pixels",
    "archive_damaged": "the last shard ends inside this sample; one row for all that is lost",
}
TEXT = """# Demo data

A small copy of the world that `headrace` works in: a web pool with known faults, trusted
image-caption pairs, and a labelled target. Written by `scripts/build_demo_data.py`; do not edit.

The pictures are from the Open Clip Art Library, as Debian packages it (openclipart-png and
openclipart-svg 0.18). Their authors placed them in the public domain (Creative Commons Public
Domain Dedication); so are the changes made here. `picture` in `truth.parquet` names the source
file of each pool sample. Captions are the SVGs' titles and keywords; some are not in English.

    python scripts/build_demo_data.py             # fetches the two packages with apt-get
    python scripts/build_demo_data.py <folder>    # or takes them unpacked (dpkg -x) there

Every random choice is a hash of (seed, purpose, picture): the same packages and the same
Pillow, pdqhash and pyarrow give the same bytes.

## Parts

| part | archives | samples | MB |
| --- | --- | --- | --- |
{parts}

All are WebDataset tars as img2dataset and CommonPool write them: `key.jpg|png|webp`, `key.json`,
`key.txt`. Keys of the pool and trusted part start with the archive's number; those of the
target's train and val archives with 1000000x and 2000000x. The target's json has `label`, one of:
{classes}.

Any two pictures of the three parts are more than 40 of 256 bits apart in their PDQ hash (taken
on white), but for what `of` records; those are within 31 bits of their original, whose hash
quality is at least 50.

## The pool's faults

`truth.parquet` has one row per pool sample: `shard`, `key`, `uid`, `offset` (of its first tar
header), `kind`, `of` (the key that it repeats, in the pool or, for in_target_val, in the target),
`caption_ok`, `true_caption` (empty where there is no picture), `picture`. A kind names one fault;
copies may also have a wrong caption, see `caption_ok`.

| kind | samples | what it is |
| --- | --- | --- |
{kinds}
"""


def part_row(folder: Path, glob: str, count: int) -> str:
    files = sorted(folder.glob(glob))
    size = sum(file.stat().st_size for file in files) / 1e6
    return f"| `{glob}` | {len(files)} | {count:,} | {size:.1f} |"


def write_readme(
    folder: Path, pool: list[Placed], counts: dict[str, int], classes: list[str]
) -> str:
    """Write README.md and return its tables, the summary of the run."""
    kinds = Counter(place.sample.kind for place in pool)
    parts = "\n".join(part_row(folder, glob, count) for glob, count in counts.items())
    rows = "\n".join(f"| {kind} | {kinds[kind]} | {text} |" for kind, text in MEANING.items())
    text = TEXT.format(parts=parts, kinds=rows, classes=", ".join(classes))
    (folder / "README.md").write_text(text)
    return f"{parts}\n\n{rows}"
