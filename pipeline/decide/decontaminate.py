"""Decontamination: drop what also lies in an evaluation set."""

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.decide.near import PDQ_RADIUS, hashed_rows, hashes, near_pairs
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.pool.source import SourceConfig
from pipeline.settings import Settings


class DecontaminateConfig(Settings):
    """Evaluation sets that the pool must not contain."""

    against: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where the evaluation images lie; they are measured like the pool, but never kept."""

    radius: int = Field(default=PDQ_RADIUS, ge=0, le=255)
    """Largest number of differing bits, of 256, that counts as the same picture."""


def drop_contaminated(
    verdicts: Verdicts, rows: pa.Table, references: pa.Table, config: DecontaminateConfig
) -> None:
    """Drops rows whose bytes or perceptual hash are those of an evaluation image, and names it."""
    sources, keys = references["source"].to_pylist(), references["key"].to_pylist()
    names = [f"{source}#{key}" for source, key in zip(sources, keys, strict=True)]
    by_bytes = dict(zip(references["sha256"].to_pylist(), names, strict=True))
    shas = rows["sha256"].to_pylist()
    same = np.array([sha is not None and sha in by_bytes for sha in shas], bool)
    verdicts.drop(same, Reason.CONTAMINATED, lambda row: f"same bytes as {by_bytes[shas[row]]}")
    nearest: dict[int, tuple[int, str]] = {}
    pool, others = hashed_rows(rows), hashed_rows(references)
    pairs = near_pairs(hashes(rows, pool), hashes(references, others), config.radius)
    for i, j, bits in pairs:
        row = int(pool[i])
        nearest[row] = min(nearest.get(row, (256, "")), (bits, names[others[j]]))
    near = np.isin(np.arange(rows.num_rows), list(nearest))
    verdicts.drop(near, Reason.CONTAMINATED, lambda row: "{} bits from {}".format(*nearest[row]))
