"""All pairs of 256-bit hashes that differ in few bits.

The search is exhaustive. A small index, or a wide radius, is compared hash by hash. Else 256 bits
are read as 16 words of 16: of two hashes within 31 bits, one word differs in at most one bit, so
only hashes that share such a word are compared (multi-index hashing, Norouzi, Punjani and Fleet,
2012). Figures in docs/duplicates.md.
"""

from collections.abc import Iterator

import faiss
import numpy as np
import numpy.typing as npt

from pipeline.decide.views import recall_of
from pipeline.format.errors import HeadraceError

WORDS, WORD_BITS = 16, 16

BY_WORDS_FROM, BY_WORDS_RADIUS = 10_000, 31
"""From so many hashes, and up to this radius, the search by words is the faster one."""

MAX_ROWS, MAX_ROWS_WIDE = 5_000_000, 1_000_000
"""Rows up to which all pairs are searched, within 31 bits and beyond: six hours of one core for
N = 5,000,000 at 0.83 ns · N², three for N = 1,000,000 at 11 ns · N²."""

MAX_PAIRS = 10_000_000
"""Pairs that one search returns, 18 bytes each. More come of one picture met thousands of times."""

CANDIDATES = 1 << 20
"""Pairs compared at once: 50 MB."""

_FLIPS = np.concatenate([[0], 1 << np.arange(WORD_BITS)]).astype(np.uint16)

Hashes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Bits = npt.NDArray[np.int16]
Columns = npt.NDArray[np.uint64]
Found = tuple[Numbers, Numbers, Bits]
"""Query, row of the index, differing bits: the same length each."""


def near_pairs(index: Hashes, queries: Hashes, radius: int) -> Found:
    """`Index(index).search(queries, radius)`."""
    return Index(index).search(queries, radius)


def refuse_too_many(rows: int, radius: int) -> None:
    """Raises HeadraceError where all pairs of so many hashes would take too long."""
    limit = MAX_ROWS if radius <= BY_WORDS_RADIUS else MAX_ROWS_WIDE
    if rows > limit:
        raise HeadraceError(
            f"duplicates: {rows:,} images are left to compare, and within {radius} bits all pairs "
            f"are found for up to {limit:,}; leave fewer by a cut or a selection, or set "
            f"duplicates.radius to null or to less ({recall_of(radius)}, {recall_of(radius // 2)})"
        )


class Index:
    """Hashes (n, 32) to be searched many times by one thread."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = np.ascontiguousarray(hashes)
        self._columns = _columns(self.hashes)
        self._tables: list[tuple[Places, Places]] = []

    def search(self, queries: Hashes, radius: int) -> Found:
        """Pairs of queries (m, p, 32), in the nearest of p positions, and rows of the index.

        Those that differ in at most `radius` bits, ordered by (query, row). Raises HeadraceError
        when there are more than MAX_PAIRS.
        """
        positions = queries.shape[1]
        flat = np.ascontiguousarray(queries).reshape(-1, 32)
        if len(self.hashes) < BY_WORDS_FROM or radius > BY_WORDS_RADIUS:
            pieces = self._one_by_one(flat, radius)
        else:
            pieces = self._by_words(flat, radius)
        found, count = [_none()], 0
        for query, row, bits in pieces:
            found.append(_nearest(query // positions, row, bits))
            count += len(found[-1][0])
            if count > MAX_PAIRS:
                _refuse_crowd(found[-1], radius)
        query, row, bits = (np.concatenate(column) for column in zip(*found, strict=True))
        return _nearest(query, row, bits)

    def _one_by_one(self, queries: Hashes, radius: int) -> Iterator[Found]:
        faiss.omp_set_num_threads(1)  # other processes have the other processors
        flat = faiss.IndexBinaryFlat(256)
        flat.add(self.hashes)
        step = max(1, CANDIDATES // max(1, len(self.hashes)))
        for at in range(0, len(queries), step):
            ends, bits, row = flat.range_search(queries[at : at + step], radius + 1)
            count = np.diff(ends.astype(np.int64)).astype(np.int64)  # faiss: unsigned
            query = at + np.repeat(np.arange(len(count)), count)
            yield query, row, bits.astype(np.int16)

    def _by_words(self, queries: Hashes, radius: int) -> Iterator[Found]:
        flips = _FLIPS if radius >= WORDS else _FLIPS[:1]
        words, columns = queries.view(np.uint16), _columns(queries)
        for table in range(WORDS):
            order, begin = self._table(table)
            step = max(1, CANDIDATES // len(flips))
            for at in range(0, len(queries), step):
                keys = words[at : at + step, table, None] ^ flips
                start, stop = begin[keys], begin[keys.astype(np.int32) + 1]
                for which, place in _expand(start.ravel(), stop.ravel()):
                    query, row = at + which // len(flips), order.take(place).astype(np.int64)
                    query, row, bits = self._compare(columns, query, row, radius)
                    before = words[query, :table] ^ self.hashes.view(np.uint16)[row, :table]
                    new = (np.bitwise_count(before) > len(flips) // WORDS).all(axis=1)
                    yield query[new], row[new], bits[new]

    def _compare(self, queries: Columns, query: Numbers, row: Numbers, radius: int) -> Found:
        """Half of the bits first: hardly any two hashes that are not near come further."""
        bits = np.zeros(len(query), np.int16)
        for half in ((0, 1), (2, 3)):
            for part in half:
                left, right = queries[part].take(query), self._columns[part].take(row)
                bits += np.bitwise_count(left ^ right)
            close = np.flatnonzero(bits <= radius)
            query, row, bits = query[close], row[close], bits[close]
        return query, row, bits

    def _table(self, word: int) -> tuple[Places, Places]:
        """Rows ordered by one of their words, and where each of its 65,536 values begins."""
        while len(self._tables) <= word:
            column = self.hashes.view(np.uint16)[:, len(self._tables)]
            count = np.bincount(column, minlength=1 << WORD_BITS)
            begin = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
            self._tables.append((np.argsort(column, kind="stable").astype(np.int32), begin))
        return self._tables[word]


def _columns(hashes: Hashes) -> Columns:
    """(4, n) words: picking from a column is several times faster than picking rows."""
    return np.ascontiguousarray(hashes.view(np.uint64).T)


def _expand(start: Places, stop: Places) -> Iterator[tuple[Numbers, Numbers]]:
    """The numbers of each range [start, stop) and which range they are of, some at a time."""
    end = np.cumsum(stop - start, dtype=np.int64)
    cuts = np.searchsorted(end, np.arange(CANDIDATES, end[-1] + CANDIDATES, CANDIDATES), "right")
    first = 0
    for last in np.minimum(cuts + 1, len(start)).tolist():
        count = stop[first:last] - start[first:last]
        which = np.repeat(np.arange(first, last), count)
        before = np.repeat(np.cumsum(count) - count - start[first:last], count)
        yield which, np.arange(len(which)) - before
        first = last


def _nearest(query: Numbers, row: Numbers, bits: Bits) -> Found:
    """Each pair once, with its fewest bits, in order."""
    order = np.lexsort((bits, row, query))
    query, row, bits = query[order], row[order], bits[order]
    first = np.ones(len(query), bool)
    first[1:] = (query[1:] != query[:-1]) | (row[1:] != row[:-1])
    return query[first], row[first], bits[first]


def _none() -> Found:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int16)


def _refuse_crowd(found: Found, radius: int) -> None:
    _, count = np.unique(found[0], return_counts=True)
    raise HeadraceError(
        f"duplicates: more than {MAX_PAIRS:,} pairs within {radius} bits; one image alone has "
        f"{count.max():,} in one pass: a picture that the pool holds very often. Deny it by its "
        "URL or sha256, or choose a smaller radius"
    )
