"""The rules on what was measured of an image, and the order in which all row rules are tried."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.decide import judge
from pipeline.decide.config import DecideConfig
from pipeline.decide.rules import RulesConfig, columns, drop_out_of_range
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.format.errors import HeadraceError
from tests.pipeline.making import rows

KEPT = (None, None)


def verdicts(table: pa.Table, config: DecideConfig) -> list[tuple[str | None, str | None]]:
    """Of every row rule that is configured, given the ledger columns they ask for and no others."""

    def load(part: str, wanted: set[str]) -> pa.Table:
        return table.select(sorted(wanted & {*table.column_names}))

    found = judge.judge(load, "part", 0, 0, False, config, judge.prepare(config, None))
    return list(zip(found["reason"].to_pylist(), found["detail"].to_pylist(), strict=True))


def judged(change, **rules) -> tuple[str | None, str | None]:
    return verdicts(rows(change), DecideConfig(rules=RulesConfig(**rules)))[0]


def test_without_rules_only_the_unreadable_falls():
    odd = {"width": 1, "height": 9999, "caption_words": 0, "caption": "", "clip_score": None}
    assert verdicts(rows(odd, {"error": "decode_failed: bad Huffman code"}), DecideConfig()) == [
        KEPT,
        ("unreadable", "decode_failed: bad Huffman code"),
    ]


def test_small_images_fall_by_their_shorter_side():
    small = ("too_small", "200 x 19 pixels: a side is under 20")
    assert judged({"width": 200, "height": 19}, min_side=20) == small
    assert judged({"width": 200, "height": 20}, min_side=20) == KEPT
    assert judged({"width": 19, "height": 200}, min_side=20)[0] == "too_small"


def test_strips_fall_beyond_the_ratio_and_not_at_it():
    beyond = ("extreme_aspect", "301 x 100 is beyond 3 : 1")
    assert judged({"width": 301, "height": 100}, max_aspect=3) == beyond
    assert judged({"width": 300, "height": 100}, max_aspect=3) == KEPT
    assert judged({"width": 100, "height": 251}, max_aspect=2.5)[1] == "100 x 251 is beyond 2.5 : 1"


@pytest.mark.parametrize("tenths", range(11, 60))
@pytest.mark.parametrize("side", [10, 30, 70, 1230])
def test_a_ratio_written_in_tenths_is_met_exactly(tenths, side):
    at = {"height": side, "width": tenths * side // 10}
    assert judged(at, max_aspect=tenths / 10) == KEPT
    assert judged(at | {"width": at["width"] + 1}, max_aspect=tenths / 10)[0] == "extreme_aspect"


def test_the_original_size_is_judged_where_that_is_asked_for():
    shrunk = {"original_width": 400, "original_height": 300, "width": 40, "height": 30}
    assert judged(shrunk, size="original", min_side=200) == KEPT
    assert judged(shrunk, size="stored", min_side=200)[0] == "too_small"
    grown = {"original_width": 199, "original_height": 300, "width": 900, "height": 900}
    assert judged(grown, size="original", min_side=200) == (
        "too_small",
        "199 x 300 pixels: a side is under 200",
    )


@pytest.mark.parametrize("rules", [{"min_side": 1}, {"max_aspect": 9}])
def test_an_unknown_original_size_falls_if_it_matters(rules):
    unknown = ("too_small", "its original size is unknown")
    assert judged({}, size="original", **rules) == unknown
    assert judged({"original_width": 500}, size="original", **rules) == unknown
    assert judged({}, size="original") == KEPT


def test_both_ends_of_a_range_are_inside():
    limits = {"sharpness": {"min": 2, "max": 5}}
    assert judged({"sharpness": 2}, ranges=limits) == KEPT
    assert judged({"sharpness": 5}, ranges=limits) == KEPT
    assert judged({"sharpness": 1.5}, ranges=limits) == (
        "out_of_range",
        "sharpness 1.5 is under 2",
    )
    assert judged({"sharpness": 6}, ranges=limits) == ("out_of_range", "sharpness 6 is over 5")


def test_a_bound_means_the_number_that_the_column_can_hold():
    """The float32 nearest to 0.28 is a little over it, that of 0.1 too, that of 0.7 under."""
    for bound in (0.28, 0.1, 0.7):
        told = {"clip_b32_similarity_score": bound}
        assert judged(told, ranges={"clip_b32_similarity_score": {"min": bound}}) == KEPT
        assert judged(told, ranges={"clip_b32_similarity_score": {"max": bound}}) == KEPT


def test_a_value_that_misses_by_a_hair_is_not_shown_as_the_bound():
    told = {"clip_b32_similarity_score": 0.28 - 2e-8}
    _, detail = judged(told, ranges={"clip_b32_similarity_score": {"min": 0.28}})
    assert detail == "clip_b32_similarity_score 0.27999997 is under 0.28"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_value_falls_unless_the_range_says_otherwise(value):
    limits = {"sharpness": {"max": 5}}
    assert judged({"sharpness": value}, ranges=limits) == ("out_of_range", "no sharpness")
    limits = {"sharpness": {"max": 5, "missing": "keep"}}
    assert judged({"sharpness": value}, ranges=limits) == KEPT


def test_whole_numbers_have_ranges_too():
    assert judged({"frames": 3}, ranges={"frames": {"max": 1}})[1] == "frames 3 is over 1"
    table = rows({"frames": None}, {"frames": 7}, {"frames": 1})
    found = verdicts(table, DecideConfig(rules={"ranges": {"frames": {"max": 1}}}))
    assert found == [("out_of_range", "no frames"), ("out_of_range", "frames 7 is over 1"), KEPT]


def test_of_two_columns_the_first_by_name_gives_the_reason():
    both = {"sharpness": 0, "entropy": 0}
    for limits in ({"sharpness": {"min": 1}, "entropy": {"min": 1}},
                   {"entropy": {"min": 1}, "sharpness": {"min": 1}}):  # fmt: skip
        assert judged(both, ranges=limits) == ("out_of_range", "entropy 0 is under 1")


def test_a_range_over_text_is_refused():
    config = RulesConfig(ranges={"language": {"min": 1}})
    with pytest.raises(HeadraceError, match="language: holds string"):
        drop_out_of_range(Verdicts(1), rows({}), config)


@pytest.mark.parametrize(
    "limits", [{}, {"min": 2, "max": 1}, {"min": float("nan")}, {"least": 1}, {"missing": "keep"}]
)
def test_a_range_that_makes_no_sense_is_refused(limits):
    with pytest.raises(ValidationError, match="ranges"):
        RulesConfig(ranges={"sharpness": limits})


@pytest.mark.parametrize(
    "rules", [{"min_side": -1}, {"max_aspect": 0.5}, {"min_words": 3}, {"size": "true"}]
)
def test_settings_that_make_no_sense_are_refused(rules):
    with pytest.raises(ValidationError, match=next(iter(rules))):
        RulesConfig(**rules)


def test_only_columns_that_a_rule_needs_are_read():
    assert columns(RulesConfig()) == {"error"}
    assert columns(RulesConfig(max_aspect=3)) == {"error", "width", "height"}
    assert columns(RulesConfig(size="original", min_side=1, ranges={"nsfw": {"max": 1}})) == {
        "error", "original_width", "original_height", "nsfw",
    }  # fmt: skip


FAULTS = [
    ("unreadable", {"error": "empty: no bytes"}),
    ("taken_down", {"url": "https://gone.example/a.jpg"}),
    ("unsafe", {"nsfw": 0.9}),
    ("too_small", {"width": 10, "height": 11}),
    ("extreme_aspect", {"width": 1000, "height": 100}),
    ("out_of_range", {"sharpness": 0.0}),
    ("caption_too_short", {"caption_words": 1}),
    ("wrong_language", {"language": "de"}),
    ("not_in_vocabulary", {"caption": "one two three"}),
    ("not_selected", {"uid": "f" * 32}),
]


@pytest.fixture
def everything(tmp_path) -> DecideConfig:
    (tmp_path / "words.txt").write_text("little\n")
    return DecideConfig(
        lists={
            "deny": [{"kind": "domain", "values": ["gone.example"]}],
            "allow": [{"kind": "uid", "values": ["0" * 32]}],
        },
        safety={"max": {"nsfw": 0.1}},
        rules={
            "min_side": 20,
            "max_aspect": 3,
            "ranges": {"sharpness": {"min": 1}},
            "min_caption_words": 2,
            "languages": ["en"],
            "vocabulary": str(tmp_path / "words.txt"),
        },
    )


def faulty(*faults) -> pa.Table:
    change = {"nsfw": 0.0, "sharpness": 9.0}
    for _, fault in faults:
        change |= fault
    return rows(change, nsfw=pa.float32())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_each_fault_alone_has_its_reason(fault, everything):
    assert verdicts(faulty(), everything) == [KEPT]
    assert verdicts(faulty(fault), everything)[0][0] == fault[0]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_a_row_with_many_faults_has_the_reason_of_the_first_rule(first, everything):
    """In DESIGN's order, where of two faults in one column the worse one stands."""
    found = verdicts(faulty(*reversed(FAULTS[first:])), everything)
    assert found[0][0] == FAULTS[first][0]


def test_reasons_are_listed_in_the_order_of_the_rules():
    listed = [reason.value for reason in Reason]
    assert [reason for reason in listed if reason in dict(FAULTS)] == list(dict(FAULTS))
