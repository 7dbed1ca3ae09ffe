"""img2dataset on `file://` URLs: its resizer filters by size and, for `--anew`, encodes.

It decodes and resizes with OpenCV, not Pillow, and has no perceptual hash: it takes a sha256. Its
pass-through is `skip_reencode` with `resize_mode=no`, which still decodes every image;
`disable_all_reencoding` would not. Each call starts its processes anew, about two seconds, so its
own statistics say when the first shard was begun and the last was done.

With `THEN_HASH=1` its tars are read again, as its user would have to who wants what the others
make: every image in them is decoded and hashed as theirs, and the hashes written beside the tars.
"""

import contextlib
import json
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path

import same_work
from img2dataset import download


def job(pool: Path, out: Path, anew: bool) -> None:
    mode = {"resize_mode": "keep_ratio_largest", "resize_only_if_bigger": True}
    download(
        url_list=str(pool / "list.parquet"),
        input_format="parquet",
        caption_col="caption",
        output_folder=str(out),
        output_format="webdataset",
        number_sample_per_shard=same_work.PER_SHARD,
        processes_count=same_work.WORKERS,
        thread_count=16,
        image_size=same_work.MAX_SIDE,
        encode_quality=same_work.QUALITY,
        min_image_size=same_work.MIN_SIDE,
        compute_hash="sha256",
        extract_exif=False,
        disallowed_header_directives=[],
        **(mode if anew else {"resize_mode": "no", "skip_reencode": True}),
    )


def worked(out: Path) -> float:
    """Seconds from the first image to the last shard."""
    stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    return max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)


def hashed(warm: Path, out: Path) -> float:
    """Seconds in which two processes hash all tars in `out`, after those of the warm-up pool."""
    with same_work.processes() as processes:
        processes.map(hashes, same_work.tars(warm), chunksize=1)
        begin = time.monotonic()
        found = processes.map(hashes, sorted(map(str, out.glob("*.tar"))), chunksize=1)
        (out / "hashes.json").write_text(json.dumps(found))
        return time.monotonic() - begin


def hashes(path: str) -> dict[str, str]:
    """The perceptual hash of each image in a tar, by its file name."""
    with tarfile.open(path) as tar:
        images = {file.name: tar.extractfile(file) for file in tar if file.name.endswith(".jpg")}
        return {
            name: same_work.perceptual_hash(same_work.decode(image.read()))
            for name, image in images.items()
        }


def main() -> None:
    given = same_work.arguments()
    out = given.out / "main"
    shutil.rmtree(given.out, ignore_errors=True)
    with contextlib.redirect_stdout(sys.stderr):
        job(given.pool, out, given.anew)
    seconds = worked(out)
    if os.environ.get("THEN_HASH") == "1":
        seconds += hashed(given.pool / "warm", out)
    same_work.say(seconds)


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    main()
