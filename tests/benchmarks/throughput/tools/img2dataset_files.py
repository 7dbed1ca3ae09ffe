"""img2dataset on `file://` URLs: its resizer filters by size and, for `--anew`, encodes.

It decodes and resizes with OpenCV, not Pillow, and has no perceptual hash: it takes a sha256. Its
pass-through is `skip_reencode` with `resize_mode=no`, which still decodes every image;
`disable_all_reencoding` would not. Each call starts its processes anew, about two seconds, so its
own statistics say when the first shard was begun and the last was done.
"""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

import work
from img2dataset import download


def job(pool: Path, out: Path, anew: bool) -> None:
    mode = {"resize_mode": "keep_ratio_largest", "resize_only_if_bigger": True}
    download(
        url_list=str(pool / "list.parquet"),
        input_format="parquet",
        caption_col="caption",
        output_folder=str(out),
        output_format="webdataset",
        number_sample_per_shard=work.PER_SHARD,
        processes_count=work.WORKERS,
        thread_count=16,
        image_size=work.MAX_SIDE,
        encode_quality=work.QUALITY,
        min_image_size=work.MIN_SIDE,
        compute_hash="sha256",
        extract_exif=False,
        disallowed_header_directives=[],
        **(mode if anew else {"resize_mode": "no", "skip_reencode": True}),
    )


def worked(out: Path) -> float:
    """Seconds from the first image to the last shard."""
    stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    return max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)


def main() -> None:
    given = work.arguments()
    shutil.rmtree(given.out, ignore_errors=True)
    with contextlib.redirect_stdout(sys.stderr):
        job(given.pool, given.out / "main", given.anew)
    work.say(worked(given.out / "main"))


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    main()
