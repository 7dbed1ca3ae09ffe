"""Duplicates, against a literal reading of DESIGN's greedy rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import DecideConfig, decide
from tests.pipeline.making import rows

VALIDATION = DecontaminateConfig(against=({"url": "s3://b/val.tar"},))
CONTAMINATED = {"sha256": "e" * 64}
REFERENCES = [{"sha256": "e" * 64, "source": "s3://b/val.tar", "key": "v"}]


def hash_of(*bits: int) -> bytes:
    """A hash with these bits set."""
    value = 0
    for bit in bits:
        value |= 1 << bit
    return value.to_bytes(32, "little")


def hashed(first: int, last: int, **changes: Any) -> dict[str, Any]:
    """A row whose hash has the bits [first, last) set."""
    return {"phash": hash_of(*range(first, last)), "phash_quality": 100} | changes


def judge(*changes, radius: int | None = 31, references=()) -> pa.Table:
    config = DecideConfig(
        duplicates=DuplicatesConfig(radius=radius),
        decontaminate=VALIDATION if references else None,
    )
    return decide(rows(*changes), rows(*references), config, WriteConfig()).table


def reasons(table: pa.Table) -> list[str | None]:
    return table["reason"].to_pylist()


def test_equal_bytes_keep_one_and_name_it():
    table = judge(
        {"sha256": "a" * 64, "clip_score": 0.1}, {}, {"sha256": "a" * 64, "clip_score": 0.9}
    )
    assert reasons(table) == ["exact_duplicate", None, None]
    assert table["detail"][0].as_py() == "same bytes as file:///pool/0.tar#0002@8704"


def test_near_hashes_keep_one_and_name_it_with_the_distance():
    table = judge(hashed(0, 9, clip_score=0.9), hashed(0, 40), hashed(5, 9))
    assert reasons(table) == [None, "near_duplicate", "near_duplicate"]
    assert table["detail"][1].as_py() == "31 bits from file:///pool/0.tar#0000@512"


def test_of_several_keepers_the_nearest_is_named():
    table = judge(hashed(0, 50, clip_score=0.9), hashed(0, 2, clip_score=0.9), hashed(0, 30))
    assert table["detail"][2].as_py() == "20 bits from file:///pool/0.tar#0000@512"


def test_a_chain_of_neighbours_does_not_chain():
    """0 – 30 – 60: the middle is near both ends, which are far from each other."""
    ends_first = judge(hashed(0, 0, clip_score=0.9), hashed(0, 30), hashed(0, 60, clip_score=0.8))
    assert reasons(ends_first) == [None, "near_duplicate", None]
    middle_first = judge(hashed(0, 0), hashed(0, 30, clip_score=0.9), hashed(0, 60))
    assert reasons(middle_first) == ["near_duplicate", None, "near_duplicate"]
    in_turn = judge(
        hashed(0, 0, clip_score=0.9), hashed(0, 30, clip_score=0.8), hashed(0, 60, clip_score=0.7)
    )
    assert reasons(in_turn) == [None, "near_duplicate", None]


def test_hashes_of_low_quality_never_merge():
    flat = {"phash": hash_of(), "phash_quality": 49}
    assert reasons(judge(flat, flat, hashed(0, 0))) == [None] * 3
    same_bytes = flat | {"sha256": "a" * 64}
    assert reasons(judge(same_bytes, same_bytes)) == [None, "exact_duplicate"]


def test_without_a_radius_only_equal_bytes_count():
    table = judge(hashed(0, 0), hashed(0, 0), {"sha256": f"{0:064x}"}, radius=None)
    assert reasons(table) == [None, None, "exact_duplicate"]


def test_a_radius_of_zero_merges_equal_hashes_only():
    table = judge(hashed(0, 5), hashed(0, 5), hashed(0, 6), radius=0)
    assert reasons(table) == [None, "near_duplicate", None]


def test_rows_that_fell_before_keep_nobody_from_staying():
    table = judge(hashed(0, 0, error="decode_failed: x", clip_score=0.9), hashed(0, 0))
    assert reasons(table) == ["unreadable", None]


def test_what_is_like_a_contaminated_row_falls_with_it_and_names_it():
    table = judge(
        hashed(0, 0, clip_score=0.1, **CONTAMINATED),
        hashed(0, 30, clip_score=0.9),
        hashed(0, 60, clip_score=0.9),
        references=REFERENCES,
    )
    assert reasons(table) == ["contaminated", "near_duplicate", None]
    assert table["detail"][1].as_py() == "30 bits from file:///pool/0.tar#0000@512"


def test_a_contaminated_row_of_a_later_generation_leaves_older_ones_alone():
    table = judge(
        hashed(0, 30, generation=0),
        hashed(0, 0, generation=1, **CONTAMINATED),
        hashed(100, 120, generation=1, **CONTAMINATED),
        hashed(100, 110, generation=1, clip_score=0.9),
        references=REFERENCES,
    )
    assert reasons(table) == [None, "contaminated", "contaminated", "near_duplicate"]


def random_rows(random: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Rows in clusters of near hashes, with repeats of bytes, ties and some of low quality."""
    centres = random.integers(0, 256, (3, 32), np.uint8)
    changes = []
    for _ in range(count):
        code = centres[random.integers(len(centres))].copy()
        for bit in random.integers(0, 256, random.integers(0, 34)):
            code[bit // 8] ^= 1 << (bit % 8)
        changes.append(
            {
                "phash": code.tobytes(),
                "phash_quality": int(random.choice([0, 49, 50, 100])),
                "sha256": f"{random.integers(count):064x}",
                "clip_score": [None, 0.1, 0.2, 0.3][random.integers(4)],
                "nbytes": int(random.integers(1, 4)),
                "uid": str(random.integers(5)),
                "source": f"s3://b/{random.integers(2)}",
                "generation": int(random.integers(3)),
                "error": "empty: no bytes" if random.random() < 0.1 else None,
            }
        )
        if random.random() < 0.1:
            changes[-1] |= CONTAMINATED
    return changes


def literally(table: pa.Table, radius: int | None) -> list[tuple[Any, str | None]]:
    """Dropped if and only if an earlier kept row has its bytes or lies within the radius."""
    found: dict[tuple, tuple[Any, str | None]] = {}
    keepers: list[dict[str, Any]] = []

    def rank(row):
        score = row["clip_score"]
        names = (row["uid"], row["source"], row["key"], row["offset"])
        first = row["sha256"] != CONTAMINATED["sha256"]
        by_score = (score is None, 0 if score is None else -score)
        return (row["generation"], first, *by_score, -row["nbytes"], *names)

    def bits(one, other):
        if min(one["phash_quality"], other["phash_quality"]) < 50:
            return 999
        return (int.from_bytes(one["phash"]) ^ int.from_bytes(other["phash"])).bit_count()

    for row in sorted(table.to_pylist(), key=rank):
        place = (row["source"], row["key"], row["offset"])
        if row["error"]:
            found[place] = ("unreadable", None)
            continue
        same = [one for one in keepers if one["sha256"] == row["sha256"]]
        near = [one for one in keepers if radius is not None and bits(one, row) <= radius]
        if row["sha256"] == CONTAMINATED["sha256"]:
            found[place] = ("contaminated", None)
            keepers.append(row)
        elif same:
            found[place] = ("exact_duplicate", f"same bytes as {_name(same[0])}")
        elif near:
            least = min(bits(one, row) for one in near)
            named = [f"{least} bits from {_name(one)}" for one in near if bits(one, row) == least]
            found[place] = ("near_duplicate", named)
        else:
            found[place] = (None, None)
            keepers.append(row)
    return found


def _name(row: dict[str, Any]) -> str:
    return f"{row['source']}#{row['key']}@{row['offset']}"


@pytest.mark.parametrize("radius", [31, 12, None])
def test_the_greedy_rule_on_random_tables(radius):
    random = np.random.default_rng(99)
    seen = set()
    for _ in range(60):
        changes = random_rows(random, int(random.integers(2, 30)))
        wanted = literally(rows(*changes), radius)
        for row in judge(*changes, radius=radius, references=REFERENCES).to_pylist():
            reason, detail = wanted[row["source"], row["key"], row["offset"]]
            assert row["reason"] == reason
            seen.add(reason)
            if reason == "exact_duplicate":
                assert row["detail"] == detail
            if reason == "near_duplicate":
                assert row["detail"] in detail
    assert seen >= {None, "unreadable", "contaminated", "exact_duplicate"}
    assert ("near_duplicate" in seen) == (radius is not None)


def test_every_keeper_that_is_named_was_kept_or_contaminated():
    random = np.random.default_rng(5)
    for _ in range(20):
        table = judge(*random_rows(random, 25), references=REFERENCES).to_pylist()
        standing = {_name(row) for row in table if row["reason"] in (None, "contaminated")}
        for row in table:
            if row["reason"] in ("exact_duplicate", "near_duplicate"):
                assert row["detail"].rpartition(" ")[2] in standing
