"""Daft: the loose files → a Python function → filter → tars through a DataSink.

Daft has no writer of tars, and its `read_webdataset` with a function that opens the members hung
here (0.7.26), so it reads the files. With `DAFT_OWN=1` it decodes and hashes with its own Rust
image library (64-bit pHash); it cannot encode at a given quality, so that row passes bytes through.
"""

import json
import os
from pathlib import Path

import daft
import same_work
import webdataset
from daft import DataType, col
from daft.functions import decode_image, image_hash, image_height, image_width

OUT = DataType.struct(
    {"side": DataType.int64(), "phash": DataType.string(), "data": DataType.binary()}
)
OWN = os.environ.get("DAFT_OWN") == "1"


@daft.func(return_dtype=OUT, use_process=False)
def measure(jpg: bytes, anew: bool) -> dict:
    """In Daft's own threads: faster here than in processes, since Pillow lets go of the GIL."""
    return dict(zip(("side", "phash", "data"), same_work.measure(jpg, anew), strict=True))


class Tars(daft.io.DataSink):
    """One tar for each piece of the frame."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def schema(self) -> daft.Schema:
        return daft.Schema.from_pydict({"written": DataType.int64()})

    def write(self, pieces):  # an iterator of daft.recordbatch.MicroPartition
        for piece in pieces:
            rows = (
                piece.to_pylist() if hasattr(piece, "to_pylist") else piece.to_arrow().to_pylist()
            )
            if rows:
                with webdataset.TarWriter(
                    str(self.out / f"{rows[0]['key']}.tar"), encoder=False
                ) as tar:
                    for row in rows:
                        tar.write(sample(row))
            yield daft.io.sink.WriteResult(
                result=len(rows), bytes_written=0, rows_written=len(rows)
            )

    def finalize(self, results):
        total = sum(result.result for result in results)
        return daft.recordbatch.MicroPartition.from_pydict({"written": [total]})


def sample(row: dict) -> dict:
    phash = row["phash"].hex() if isinstance(row["phash"], bytes) else row["phash"]
    meta = {"caption": row["text"], "key": row["key"], "phash": phash}
    files = {"jpg": row["data"], "json": json.dumps(meta).encode(), "txt": row["text"].encode()}
    return {"__key__": row["key"], **files}


def job(pool: Path, out: Path, anew: bool) -> None:
    frame = daft.read_parquet(str(pool / "list.parquet")).into_batches(64)
    frame = frame.select(
        col("key"), col("caption").alias("text"), col("url").download().alias("jpg")
    )
    if OWN:
        frame = frame.with_column("image", decode_image(col("jpg")))
        sides = image_width(col("image")), image_height(col("image"))
        frame = frame.where((sides[0] >= same_work.MIN_SIDE) & (sides[1] >= same_work.MIN_SIDE))
        frame = frame.with_column("phash", image_hash(col("image")))
        frame = frame.select("key", "text", "phash", col("jpg").alias("data"))
    else:
        frame = frame.with_column("measured", measure(col("jpg"), anew)).exclude("jpg")
        fields = [col("measured").get(name).alias(name) for name in ("side", "phash", "data")]
        frame = frame.select("key", "text", *fields).where(col("side") >= same_work.MIN_SIDE)
    frame.write_sink(Tars(out))


if __name__ == "__main__":
    daft.set_runner_native()
    same_work.timed(job)
