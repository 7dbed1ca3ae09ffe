"""Decontamination: by bytes, by hash, and always with the name of what was met."""

import pytest

from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import DecideConfig, decide
from tests.pipeline.decide.test_duplicates import hashed
from tests.pipeline.making import rows

VALIDATION = "s3://b/val.tar"


def judge(changes, references, radius: int = 31):
    config = DecideConfig(
        decontaminate=DecontaminateConfig(against=({"url": VALIDATION},), radius=radius)
    )
    named = [{"source": VALIDATION, **one} for one in references]
    table = decide(rows(*changes), rows(*named), config, WriteConfig()).table
    return list(zip(table["reason"].to_pylist(), table["detail"].to_pylist(), strict=True))


KEPT = (None, None)


def test_equal_bytes_fall_and_name_the_evaluation_image():
    found = judge([{"sha256": "a" * 64}, {}], [{"key": "x"}, {"key": "y", "sha256": "a" * 64}])
    assert found[0] == ("contaminated", f"same bytes as {VALIDATION}#y")


def test_near_hashes_fall_and_name_the_nearest_evaluation_image():
    references = [
        hashed(0, 40, key="far", sha256="b"),
        hashed(0, 12, key="nearest", sha256="c"),
        hashed(0, 25, key="near", sha256="d"),
    ]
    found = judge([hashed(0, 10), hashed(0, 80), hashed(0, 71)], references)
    assert found == [
        ("contaminated", f"2 bits from {VALIDATION}#nearest"),
        KEPT,
        ("contaminated", f"31 bits from {VALIDATION}#far"),
    ]


def test_the_radius_is_the_configs():
    assert judge([hashed(0, 10)], [hashed(0, 13, sha256="b")], radius=2) == [KEPT]
    assert judge([hashed(0, 10)], [hashed(0, 13, sha256="b")], radius=3)[0][0] == "contaminated"


@pytest.mark.parametrize("weak", ["pool", "reference"])
def test_hashes_of_low_quality_meet_nothing(weak):
    row, reference = hashed(0, 0), hashed(0, 0, sha256="b")
    (row if weak == "pool" else reference)["phash_quality"] = 49
    assert judge([row], [reference]) == [KEPT]


def test_bad_evaluation_images_meet_nothing():
    assert judge([{}], [{"sha256": None, "error": "archive_damaged: x"}]) == [KEPT]


def test_unreadable_rows_keep_their_own_reason():
    change = {"error": "decode_failed: x", "sha256": "a" * 64}
    assert judge([change], [{"sha256": "a" * 64}]) == [("unreadable", "decode_failed: x")]


def test_bad_rows_without_digest_are_not_met_by_bad_references():
    found = judge([{"sha256": None, "error": "no_image: x"}], [{"sha256": None, "error": "x"}])
    assert found == [("unreadable", "no_image: x")]


def test_an_evaluation_set_without_images_drops_nothing():
    assert judge([{}, hashed(0, 0)], []) == [KEPT, KEPT]


def test_an_empty_list_of_sets_is_refused():
    with pytest.raises(ValueError, match="at least 1 item"):
        DecontaminateConfig(against=())
