"""What a refresh costs: a chain of snapshots, each of which brings as much that is new.

    python -m tests.benchmarks.refresh --out FOLDER
    python -m tests.benchmarks.refresh --out FOLDER --refreshes 10 --images-per-week 500

    FOLDER/rows.jsonl      one line for the first snapshot, one for each refresh
    FOLDER/refresh.png     the same as charts
    FOLDER/pool, dataset   what it was made of, and what came out

Image bytes, images measured, and the bytes of shards and indexes should be the same for every
refresh; the plan and decide's and the gates' seconds grow with the ledger, of which they read the
narrow columns whole; so does listing, by one question for each tar of the pool.

Image bytes are those of tars that a web server on this machine has sent to the job's processes, by
whatever read: measuring takes a tar once; writing takes the kept images of it again, and what is
read ahead of them. Images measured are the rows of new files below ledger/image/. What is written
are the bytes of new files below shards/, snapshots/<id>/plan/ and ledger/. Seconds are those of the
run records, with Ray up beforehand.
"""

import argparse
import json
from pathlib import Path

from tests.benchmarks.refresh.chain import chain
from tests.benchmarks.refresh.plot import picture

SHOWN = ("refresh", "images_pool", "images_measured", "image_bytes_read")
SHOWN += ("shard_bytes_written", "plan_bytes_written", "ledger_bytes")
STAGES = ("list", "measure", "decide", "gates", "write")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--refreshes", type=int, default=10, help="after the first snapshot")
    parser.add_argument("--images-per-week", type=int, default=500, help="new in each")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    given = parser.parse_args()
    rows = []
    print(*SHOWN, *(f"{stage}_s" for stage in STAGES), sep="\t")
    for row in chain(given.out, given.refreshes, given.images_per_week, given.workers):
        rows.append(row)
        with (given.out / "rows.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        seconds = (f"{row['seconds_of'].get(stage, 0):.2f}" for stage in STAGES)
        print(*(row[name] for name in SHOWN), *seconds, sep="\t", flush=True)
    (given.out / "refresh.png").write_bytes(picture(rows))


if __name__ == "__main__":
    main()
