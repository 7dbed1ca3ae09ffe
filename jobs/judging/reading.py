"""What an evaluation judges, read from its ledger: pairs with embeddings, and pools with scores."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import ledger
from pipeline.assess import keyed
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import canonical_json
from pipeline.pool.sample import Part

Embeddings = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ledger:
    """An evaluation's ledger, and the fingerprints of what is in it."""

    url: str
    image: str
    pairs: dict[str, str]
    """Filter → fingerprint of the embeddings of images and captions."""
    clip: dict[str, str]
    """Filter → fingerprint of the scores of pools."""


@dataclass
class Account:
    """What became of the samples that were given: the counts add up to it."""

    given: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Kind of fault → samples."""
    without_caption: int = 0
    not_drawn: int = 0
    """More than `most_pairs`."""
    unscored: int = 0
    """Readable, and yet a filter has no figure for it."""
    judged: int = 0

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Account":
        """One that was written as JSON."""
        return cls(**told | {"unreadable": Counter(told["unreadable"])})

    @property
    def sentence(self) -> str:
        """The account in words."""
        bad = ", ".join(f"{count} {kind}" for kind, count in sorted(self.unreadable.items()))
        unreadable = f"{self.unreadable.total()} unreadable" + (f" ({bad})" if bad else "")
        return (
            f"{self.given} given, {unreadable}, {self.without_caption} without a caption, "
            f"{self.not_drawn} not drawn, {self.unscored} unscored, {self.judged} judged"
        )


@dataclass(frozen=True)
class Pairs:
    """Pairs to judge, row by row the same for all filters."""

    account: Account
    texts: list[str]
    """(n,) captions."""
    images: dict[str, Embeddings]
    """Filter → (n, D) of unit length."""
    captions: dict[str, Embeddings]


@dataclass(frozen=True)
class Pool:
    """A pool's source, as the filters score it."""

    url: str
    account: Account
    scores: dict[str, Scores]
    """Filter → (n,) of all rows in the pool's order; NaN where there is none."""


def pairs(marks: Ledger, parts: list[Part], most: int, seed: int, what: str) -> Pairs:
    """Reads pairs, at most so many, drawn by key. Those of `off_topic` need no caption."""
    account, texts, usable = Account(), list[str](), []
    for part in parts:
        rows = ledger.read_part(marks.url, {"image": marks.image}, part.name, ["error", "caption"])
        usable.append(_usable(rows, account, wordless=what == "off_topic"))
        texts += pc.fill_null(rows["caption"], "").to_pylist()
    chosen = _drawn(np.concatenate([np.zeros(0, bool), *usable]), most, seed, what)
    account.not_drawn = sum(int(one.sum()) for one in usable) - len(chosen)
    counts = [len(one) for one in usable]
    images, captions = {}, {}
    for name in marks.pairs:
        of_images, of_captions = _embeddings(marks, name, parts, counts, chosen)
        images[name], captions[name] = of_images, of_captions
    scored = np.ones(len(chosen), bool)
    for name in marks.pairs:
        scored &= _scored([images[name], captions[name]], name, what)
    account.unscored, account.judged = int((~scored).sum()), int(scored.sum())
    return Pairs(
        account,
        [texts[row] for row in chosen[scored]],
        {name: found[scored] for name, found in images.items()},
        {name: found[scored] for name, found in captions.items()},
    )


def _usable(rows: pa.Table, account: Account, wordless: bool) -> Mask:
    """Which rows can be judged; the others are counted by what they lack."""
    kinds = [error.partition(":")[0] if error else "" for error in rows["error"].to_pylist()]
    readable = np.array([not kind for kind in kinds], bool)
    captions = pc.fill_null(rows["caption"], "").to_pylist()
    worded = np.array([wordless or bool(text.strip()) for text in captions], bool)
    account.given += len(kinds)
    account.unreadable.update(kind for kind in kinds if kind)
    account.without_caption += int((readable & ~worded).sum())
    both: Mask = readable & worded
    return both


def _drawn(usable: Mask, most: int, seed: int, what: str) -> Numbers:
    rows = np.flatnonzero(usable)
    return np.sort(rows[keyed.permutation(len(rows), f"judged {what}", seed)[:most]])


def _embeddings(
    marks: Ledger, name: str, parts: list[Part], counts: list[int], chosen: Numbers
) -> tuple[Embeddings, Embeddings]:
    """Of the chosen rows, one part held at a time; NaN where there is none."""
    columns = ["image_embedding", "caption_embedding"]
    found: list[list[Embeddings]] = [[], []]
    first = 0
    for part, count in zip(parts, counts, strict=True):
        low, high = np.searchsorted(chosen, [first, first + count])
        if high > low:
            families = {"image": marks.image, "pairs": marks.pairs[name]}
            rows = ledger.read_part(marks.url, families, part.name, columns)
            rows = rows.take(pa.array(chosen[low:high] - first))
            for into, column in zip(found, columns, strict=True):
                into.append(_matrix(rows[column]))
        first += count
    return _together(found[0]), _together(found[1])


def _matrix(column: pa.ChunkedArray) -> Embeddings:
    """(n, D) of a column of lists of one length; NaN where it is null. (n, 0) if all are."""
    values = column.combine_chunks()
    flat = values.flatten().to_numpy(zero_copy_only=False)
    there = values.is_valid().to_numpy(zero_copy_only=False)
    width = len(flat) // there.sum() if there.any() else 0
    matrix = np.full((len(there), width), np.nan, np.float32)
    matrix[there] = flat.reshape(-1, width) if width else 0
    return matrix


def _together(found: list[Embeddings]) -> Embeddings:
    width = max((one.shape[1] for one in found), default=0)
    bare = [np.full((len(one), width), np.nan, np.float32) if not one.shape[1] else one
            for one in found]  # fmt: skip
    return np.concatenate([np.zeros((0, width), np.float32), *bare])


def _scored(embeddings: list[Embeddings], name: str, what: str) -> Mask:
    """Which rows a filter has figures of. Of none: then the others would be judged on none."""
    scored = np.ones(len(embeddings[0]), bool)
    for one in embeddings:
        scored &= np.isfinite(one).all(axis=1) if one.shape[1] else False
    if len(scored) and not scored.any():
        raise HeadraceError(
            f"filters.{name}: has no finite figure of any of the {len(scored)} samples of {what}; "
            "look at its weights, or leave it out"
        )
    return scored


def pool(marks: Ledger, url: str, parts: list[Part]) -> Pool:
    """Reads the scores of one source; those without a caption are scored as they are."""
    account, found = Account(), {name: [np.zeros(0, np.float32)] for name in marks.clip}
    for part in parts:
        rows = ledger.read_part(marks.url, {"image": marks.image}, part.name, ["error", "caption"])
        _usable(rows, account, wordless=True)
        for name, into in found.items():
            families = {"image": marks.image, "clip": marks.clip[name]}
            told = ledger.read_part(marks.url, families, part.name, ["clip_score"])
            into.append(told["clip_score"].to_numpy().astype(np.float32))
    scores = {name: np.concatenate(one) for name, one in found.items()}
    scored = np.isfinite(np.array(list(scores.values()))).all(axis=0)
    account.judged = int(scored.sum())
    account.unscored = account.given - account.unreadable.total() - account.judged
    return Pool(url, account, scores)


def digest(parts: list[Part]) -> str:
    """Of what is behind these parts: 64 hex digits that change when a file does."""
    return hashlib.sha256(canonical_json([part.name for part in parts])).hexdigest()
