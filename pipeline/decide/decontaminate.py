"""Decontamination: drop what also lies in an evaluation set."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from pipeline.decide import views
from pipeline.decide.clusters import Matrix, matrix
from pipeline.decide.near import Index
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.decide.views import View
from pipeline.pool.source import SourceConfig
from pipeline.settings import Settings

AT_ONCE = 1 << 24
"""Cosines that are held at once: 64 MB."""


class EmbeddingMatch(Settings):
    """Equal content by a copy-detection model."""

    model: str = Field(default="clip", min_length=1)
    """Whose embeddings: `clip`, or the name of a model that gives some."""

    cosine: float = Field(default=0.604169, gt=0, lt=1)
    """Above which cosine an image counts as a copy of an evaluation image. The default is
    DataComp's, for the descriptor that won ISC-2021 (section 3.2); other models need their own."""


class DecontaminateConfig(Settings):
    """Evaluation sets that the pool must not contain."""

    against: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where the evaluation images lie; they are measured like the pool, but never kept."""

    radius: int | None = Field(default=views.PDQ_RADIUS, ge=0, le=255)
    """Largest number of differing bits, of 256, that counts as the same picture, turned or
    flipped; null compares no looks."""

    window_radius: int | None = Field(default=views.WINDOW_RADIUS, ge=0, le=255)
    """The same of the upper or the lower three quarters; null compares whole images alone."""

    embedding: EmbeddingMatch | None = None
    """Compare embeddings, too."""


Hashed = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]
"""Rows (n,), and their hashes in all positions of a view, (n, positions, 32)."""


@dataclass(frozen=True)
class References:
    """The evaluation images, made ready to be compared with."""

    names: list[str]
    by_bytes: dict[str, int]
    hashed: dict[View, Hashed]
    """Which of them have a hash of the quality to be compared, (n,), and theirs."""
    embedded: npt.NDArray[np.int64]
    embeddings: Matrix
    """Of unit length, (m, d)."""


def columns(config: DecontaminateConfig) -> set[str]:
    """Ledger columns that the rule reads, of the pool and of the evaluation sets."""
    looks = views.columns(_compared(config))
    return {"sha256"} | looks | ({embedding_of(config)} if config.embedding else set())


def embedding_of(config: DecontaminateConfig) -> str:
    """The ledger column of the embeddings that are compared."""
    assert config.embedding
    return f"{config.embedding.model}_embedding"


def references(rows: pa.Table, config: DecontaminateConfig) -> References:
    """Gathers the facts of the evaluation images: `columns`, `source` and `key`."""
    places = zip(rows["source"].to_pylist(), rows["key"].to_pylist(), strict=True)
    digests = rows["sha256"].to_pylist()
    embedded, embeddings = _embeddings(rows, config)
    return References(
        names=[f"{source}#{key}" for source, key in places],
        by_bytes={digest: row for row, digest in reversed([*enumerate(digests)]) if digest},
        hashed={view: _hashes(rows, view) for view in _compared(config)},
        embedded=embedded,
        embeddings=embeddings,
    )


def drop_contaminated(
    verdicts: Verdicts, rows: pa.Table, against: References, config: DecontaminateConfig
) -> None:
    """Drops rows with the bytes, the look or the content of an evaluation image, and names it."""
    same = {
        row: f"same bytes as {against.names[against.by_bytes[digest]]}"
        for row, digest in enumerate(rows["sha256"].to_pylist())
        if digest in against.by_bytes
    }
    for found in (same, _alike(rows, against, config), _copies(rows, against, config)):
        mask = np.zeros(rows.num_rows, bool)
        mask[list(found)] = True
        verdicts.drop(mask, Reason.CONTAMINATED, found.__getitem__)


def _alike(rows: pa.Table, against: References, config: DecontaminateConfig) -> dict[int, str]:
    """For each row that looks like an evaluation image, the nearest one, by the first view."""
    found: dict[int, str] = {}
    for view, radius in _compared(config).items():
        known, theirs = against.hashed[view]
        hashed, ours = _hashes(rows, view)
        i, j, bits = Index(theirs[:, 0]).search(ours, radius)
        for at in np.lexsort((j, bits, i)).tolist():
            words = f"{bits[at]} bits of 256{view.words} from {against.names[known[j[at]]]}"
            found.setdefault(int(hashed[i[at]]), words)
    return found


def _copies(rows: pa.Table, against: References, config: DecontaminateConfig) -> dict[int, str]:
    """For each row whose embedding is close to an evaluation image's, the closest one."""
    if config.embedding is None or not len(against.embeddings):
        return {}
    embedded, embeddings = _embeddings(rows, config)
    found, step = {}, max(1, AT_ONCE // len(against.embeddings))
    for begin in range(0, len(embeddings), step):
        cosines = embeddings[begin : begin + step] @ against.embeddings.T
        best = cosines.argmax(axis=1)
        for at in np.flatnonzero(cosines.max(axis=1) > config.embedding.cosine).tolist():
            name = against.names[against.embedded[best[at]]]
            words = (
                f"cosine {cosines[at, best[at]]:.4f}, over {config.embedding.cosine:g}, to {name}"
            )
            found[int(embedded[begin + at])] = words
    return found


def _compared(config: DecontaminateConfig) -> views.Compared:
    return views.compared(config.radius, config.window_radius)


def _hashes(rows: pa.Table, view: View) -> Hashed:
    chosen = np.flatnonzero(views.good(rows, view))
    return chosen, views.hashes(rows[view.hashes].take(pa.array(chosen)).to_pylist(), view)


def _embeddings(
    rows: pa.Table, config: DecontaminateConfig
) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Rows that have an embedding (n,), and the embeddings (n, d)."""
    if config.embedding is None:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    column = rows[embedding_of(config)]
    known = np.flatnonzero(column.is_valid().to_numpy())
    if not len(known):
        return known, np.zeros((0, 0), np.float32)
    return known, matrix(column.take(pa.array(known)))
