"""Decontamination: by bytes, by hash, and always with the name of what was met."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decide import decontaminate
from pipeline.decide.config import DecideConfig
from pipeline.decide.decontaminate import DecontaminateConfig, EmbeddingMatch
from tests.pipeline.decide.deciding import decided
from tests.pipeline.decide.test_duplicates import embedded, hashed
from tests.pipeline.making import rows

VALIDATION = "s3://b/val.tar"
EMBEDDED = {"clip_embedding": pa.list_(pa.float16())}


def judge(changes, references, **settings):
    against = DecontaminateConfig(against=({"url": VALIDATION},), **settings)
    named = [
        {"source": VALIDATION, "sha256": f"{1000 + n:064x}", **one}
        for n, one in enumerate(references)
    ]
    config = DecideConfig(decontaminate=against)
    verdicts = decided(rows(*changes, **EMBEDDED), config, references=rows(*named, **EMBEDDED))
    return list(zip(verdicts.reasons, verdicts.table["detail"].to_pylist(), strict=True))


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
        ("contaminated", f"2 bits of 256 from {VALIDATION}#nearest"),
        KEPT,
        ("contaminated", f"31 bits of 256 from {VALIDATION}#far"),
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


def test_a_turned_copy_of_an_evaluation_image_falls():
    turned = hashed(0, 10)
    original = hashed(100, 180, key="x", sha256="b")
    flipped = turned["phashes"][: 32 * 7] + original["phashes"][:32]
    assert judge([turned | {"phashes": flipped}], [original])[0][0] == "contaminated"


def test_an_evaluation_image_with_a_bar_of_text_is_met_by_a_window():
    far = [bytes([fill]) * 32 for fill in (1, 6, 24, 96)]
    original = {
        "window_phashes": b"".join(far),
        "window_quality": 100,
        "key": "x",
        "sha256": "b" * 64,
    }
    upper_alike = original | {"window_phashes": far[0] + b"".join(far[3:] * 3), "sha256": "c" * 64}
    found = judge([upper_alike], [original])
    words = f"0 bits of 256 in the upper three quarters from {VALIDATION}#x"
    assert found == [("contaminated", words)]
    assert judge([upper_alike], [original], window_radius=None) == [KEPT]


def test_without_a_radius_no_look_is_compared():
    assert judge([hashed(0, 10)], [hashed(0, 10, sha256="b")], radius=None) == [KEPT]


def test_a_close_embedding_falls_and_names_the_closest_with_figure_and_limit():
    references = [embedded(50, key="far"), embedded(9, key="near"), {"key": "none"}]
    match = EmbeddingMatch(cosine=0.95)
    found = judge([embedded(0), embedded(30), {}, embedded(58)], references, embedding=match)
    assert found[0][1].startswith("cosine 0.98")
    assert found[0][1].endswith(f", over 0.95, to {VALIDATION}#near")
    assert [reason for reason, _ in found] == ["contaminated", None, None, "contaminated"]


def test_many_embeddings_are_compared_in_blocks(monkeypatch):

    angles = np.random.default_rng(1).uniform(0, 360, 50)
    references = [embedded(angle, key=f"{n}") for n, angle in enumerate(angles[:9])]
    match = EmbeddingMatch(cosine=0.999)
    whole = judge([embedded(angle) for angle in angles], references, embedding=match)
    monkeypatch.setattr(decontaminate, "AT_ONCE", 30)
    assert judge([embedded(angle) for angle in angles], references, embedding=match) == whole
    assert [reason for reason, _ in whole[:9]] == ["contaminated"] * 9
