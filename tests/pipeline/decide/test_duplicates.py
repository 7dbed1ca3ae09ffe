"""Duplicates, against a literal reading of DESIGN's greedy rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide.config import DecideConfig
from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.semantic import SemanticConfig
from tests.pipeline.decide.deciding import decided
from tests.pipeline.making import phashes, rows

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
    return {"phashes": phashes(hash_of(*range(first, last))), "phash_quality": 100} | changes


def judge(*changes, radius: int | None = 31, references=()) -> pa.Table:
    config = DecideConfig(
        duplicates=DuplicatesConfig(radius=radius),
        decontaminate=VALIDATION if references else None,
    )
    return decided(rows(*changes), config, references=rows(*references)).table


def reasons(table: pa.Table) -> list[str | None]:
    return table["reason"].to_pylist()


def test_equal_bytes_keep_one_and_name_it():
    table = judge(
        {"sha256": "a" * 64, "clip_score": 0.1}, {}, {"sha256": "a" * 64, "clip_score": 0.9}
    )
    assert reasons(table) == ["exact_duplicate", None, None]
    assert table["detail"][0].as_py() == "same bytes"
    assert table["keeper"].to_pylist() == [2, None, None]


def test_near_hashes_keep_one_and_name_it_with_the_distance():
    table = judge(hashed(0, 9, clip_score=0.9), hashed(0, 40), hashed(5, 9))
    assert reasons(table) == [None, "near_duplicate", "near_duplicate"]
    assert table["detail"][1].as_py() == "31 bits of 256 differ"
    assert table["keeper"].to_pylist() == [None, 0, 0]


def test_of_several_keepers_the_nearest_is_named():
    table = judge(hashed(0, 50, clip_score=0.9), hashed(0, 2, clip_score=0.9), hashed(0, 30))
    assert table["detail"][2].as_py() == "20 bits of 256 differ"
    assert table["keeper"][2].as_py() == 0


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
    flat = {"phashes": phashes(hash_of()), "phash_quality": 49}
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
    assert table["keeper"][1].as_py() == 0


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
                "phashes": phashes(code.tobytes()),
                "phash_quality": int(random.choice([0, 49, 50, 100])),
                "sha256": f"{random.integers(count):064x}",
                "clip_score": [None, 0.1, 0.2, 0.3][random.integers(4)],
                "nbytes": int(random.integers(1, 4)),
                "uid": f"{random.integers(5):032x}",
                "source": f"s3://b/{random.integers(2)}",
                "generation": int(random.integers(3)),
                "error": "empty: no bytes" if random.random() < 0.1 else None,
            }
        )
        if random.random() < 0.1:
            changes[-1] |= CONTAMINATED
    return changes


def literally(table: pa.Table, radius: int | None) -> list[tuple[str | None, set[int]]]:
    """Dropped if and only if an earlier kept row has its bytes or lies within the radius.

    The reason of each row, and the rows that may be named as its keeper. Rows that equal one
    that fell, in look or else in bytes, share its verdict.
    """
    facts = [row | {"row": n} for n, row in enumerate(table.sort_by(POOL_ORDER).to_pylist())]
    found: list[tuple[str | None, set[int]]] = [(None, set())] * len(facts)
    keepers: list[dict[str, Any]] = []
    firsts: dict[str, int] = {}

    def rank(row):
        score = row["clip_score"]
        first = row["sha256"] != CONTAMINATED["sha256"]
        by_score = (score is None, 0 if score is None else -score)
        return (row["generation"], first, *by_score, -row["nbytes"], row["uid"], row["row"])

    def bits(one, other):
        if min(one["phash_quality"], other["phash_quality"]) < 50:
            return 999
        upright = (row["phashes"][:32] for row in (one, other))
        return (int.from_bytes(next(upright)) ^ int.from_bytes(next(upright))).bit_count()

    for row in sorted(facts, key=rank):
        looks = radius is not None and row["phash_quality"] >= 50
        same = row["phashes"][:32] if looks else row["sha256"]
        first = firsts.setdefault(same, row["row"]) if not row["error"] else None
        near = [one for one in keepers if radius is not None and bits(one, row) <= radius]
        if row["error"]:
            found[row["row"]] = ("unreadable", set())
        elif row["sha256"] == CONTAMINATED["sha256"]:
            found[row["row"]] = ("contaminated", set())
            keepers.append(row)
        elif first != row["row"]:
            equal = row["sha256"] == facts[first]["sha256"]
            reason = "exact_duplicate" if equal else "near_duplicate"
            fallen = found[first][0] == "near_duplicate"
            found[row["row"]] = found[first] if fallen else (reason, {first})
        elif near:
            least = min(bits(one, row) for one in near)
            nearest = {one["row"] for one in near if bits(one, row) == least}
            found[row["row"]] = ("near_duplicate", nearest)
        else:
            keepers.append(row)
    return found


POOL_ORDER = [("source", "ascending"), ("offset", "ascending"), ("key", "ascending")]


@pytest.mark.parametrize("radius", [31, 12, None])
def test_the_greedy_rule_on_random_tables(radius):
    random = np.random.default_rng(99)
    seen = set()
    for _ in range(60):
        changes = random_rows(random, int(random.integers(2, 30)))
        wanted = literally(rows(*changes), radius)
        table = judge(*changes, radius=radius, references=REFERENCES)
        for row, (reason, keepers) in zip(table.to_pylist(), wanted, strict=True):
            assert row["reason"] == reason
            assert row["keeper"] in (keepers or {None})
            seen.add(reason)
    assert seen >= {None, "unreadable", "contaminated", "exact_duplicate"}
    assert ("near_duplicate" in seen) == (radius is not None)


def test_every_keeper_that_is_named_was_kept_or_contaminated():
    random = np.random.default_rng(5)
    named = 0
    for _ in range(20):
        table = judge(*random_rows(random, 25), references=REFERENCES).to_pylist()
        for row in table:
            if row["keeper"] is not None:
                assert table[row["keeper"]]["reason"] in (None, "contaminated")
                named += 1
    assert named > 50


def test_what_had_the_bytes_of_a_row_that_falls_to_a_look_falls_to_the_same_keeper():
    table = judge(
        hashed(0, 0, clip_score=0.9),
        hashed(0, 30, clip_score=0.8, sha256="a" * 64),
        hashed(0, 30, clip_score=0.7, sha256="a" * 64),
    )
    assert reasons(table) == [None, "near_duplicate", "near_duplicate"]
    assert table["keeper"].to_pylist() == [None, 0, 0]


def test_a_picture_that_is_turned_or_flipped_is_found():
    code = hash_of(*range(0, 200, 3))
    for turn in range(1, 8):
        turns = [hash_of(*range(turn, 256, 2 + n)) for n in range(7)]
        original = {"phashes": phashes(code, *turns), "phash_quality": 100, "clip_score": 0.9}
        turned = {"phashes": phashes(turns[turn - 1]), "phash_quality": 100}
        assert reasons(judge(original, turned)) == [None, "near_duplicate"], turn


def windowed(upper: bytes, lower: bytes, **changes: Any) -> dict[str, Any]:
    """A row whose whole hash is near nothing, and whose windows have these hashes."""
    mirrored = [phashes(half)[32:64] for half in (upper, lower)]
    four = upper + mirrored[0] + lower + mirrored[1]
    return {"window_phashes": four, "window_quality": 100} | changes


FAR = [hash_of(*range(begin, begin + 60)) for begin in (0, 60, 120, 180)]


def judge_windows(*changes, **duplicates: Any) -> pa.Table:
    return decided(rows(*changes), DecideConfig(duplicates=DuplicatesConfig(**duplicates))).table


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_an_image_with_a_bar_at_one_edge_falls_to_the_window_that_is_alike(half):
    first = windowed(FAR[0], FAR[1], clip_score=0.9)
    near = {"upper": hash_of(*range(48)), "lower": hash_of(*range(60, 108))}
    barred = windowed(near["upper"], FAR[3]) if half == "upper" else windowed(FAR[2], near["lower"])
    table = judge_windows(first, barred)
    assert reasons(table) == [None, "near_duplicate"]
    assert table["detail"][1].as_py() == f"12 bits of 256 differ in the {half} three quarters"


def test_a_mirrored_window_is_found():
    first = windowed(FAR[0], FAR[1], clip_score=0.9)
    turned = windowed(FAR[2], FAR[3])
    turned["window_phashes"] = FAR[2] + FAR[0] + FAR[3] + FAR[2]
    assert reasons(judge_windows(first, turned)) == [None, "near_duplicate"]


def test_the_upper_window_of_one_is_not_held_against_the_lower_one_of_another():
    assert reasons(judge_windows(windowed(FAR[0], FAR[1]), windowed(FAR[2], FAR[0]))) == [None] * 2


def test_windows_count_within_their_own_radius_and_with_quality_alone():
    pair = windowed(FAR[0], FAR[1], clip_score=0.9), windowed(hash_of(*range(47)), FAR[2])
    assert reasons(judge_windows(*pair)) == [None, None]
    assert reasons(judge_windows(*pair, window_radius=13)) == [None, "near_duplicate"]
    assert reasons(judge_windows(*pair, window_radius=13, radius=None)) == [None, None]
    same = windowed(*FAR[:2]), windowed(*FAR[:2])
    assert reasons(judge_windows(*same, window_radius=None)) == [None, None]
    assert reasons(judge_windows(*(row | {"window_quality": 49} for row in same))) == [None, None]


def test_the_whole_is_named_before_a_window():
    first = windowed(*FAR[:2]) | hashed(0, 0, clip_score=0.9)
    table = judge_windows(first, windowed(*FAR[:2]) | hashed(0, 20))
    assert table["detail"][1].as_py() == "20 bits of 256 differ"


def test_a_look_alike_of_an_image_that_was_taken_down_falls_with_it():
    deny = {"deny": [{"kind": "uid", "values": [f"{0:032x}"]}]}
    config = DecideConfig(lists=deny, duplicates=DuplicatesConfig())
    same = hashed(0, 0, sha256=f"{0:064x}")
    changes = [same, hashed(0, 20, clip_score=0.9), same]
    verdicts = decided(rows(*changes), config)
    assert verdicts.reasons == ["taken_down", "near_duplicate", "exact_duplicate"]
    assert verdicts.table["keeper"].to_pylist() == [None, 0, 0]


# Content


def embedded(angle: float, **changes: Any) -> dict[str, Any]:
    """A row whose embedding points to this angle, in degrees."""
    radians = np.deg2rad(angle)
    return {"clip_embedding": [float(np.cos(radians)), float(np.sin(radians))]} | changes


def judge_content(*changes, cosine: float, **duplicates: Any) -> Any:
    semantic = SemanticConfig(clusters=1, cosine=cosine)
    config = DecideConfig(duplicates=DuplicatesConfig(semantic=semantic, **duplicates))
    return decided(rows(*changes, clip_embedding=pa.list_(pa.float16())), config)


def test_images_of_one_content_keep_one_and_name_it_with_the_cosine():
    verdicts = judge_content(
        embedded(0, clip_score=0.9), embedded(10), embedded(40), {}, cosine=0.95
    )
    assert verdicts.reasons == [None, "semantic_duplicate", None, None]
    assert verdicts.table["keeper"].to_pylist() == [None, 0, None, None]
    assert verdicts.table["detail"][1].as_py().startswith("cosine 0.98")


def test_a_look_is_named_before_a_content():
    alike = hashed(0, 20) | embedded(1)
    verdicts = judge_content(hashed(0, 0, clip_score=0.9) | embedded(0), alike, cosine=0.9)
    assert verdicts.reasons == [None, "near_duplicate"]


def test_a_row_falls_to_a_keeper_that_stays_whatever_the_kind():
    """1 is like 0 in content, 2 is like 1 in look but unlike 0: it stays, for 1 does not."""
    verdicts = judge_content(
        embedded(0, clip_score=0.9),
        hashed(0, 0, clip_score=0.8) | embedded(5),
        hashed(0, 20, clip_score=0.7) | embedded(90),
        cosine=0.9,
    )
    assert verdicts.reasons == [None, "semantic_duplicate", None]
