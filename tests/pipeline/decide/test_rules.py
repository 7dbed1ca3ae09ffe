"""The rules that look at one row alone, and the order in which all rules are tried."""

import pytest
from pydantic import ValidationError

from pipeline.decide.cut import CutConfig
from pipeline.decide.decontaminate import DecontaminateConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import DecideConfig, decide
from pipeline.decide.rules import RulesConfig
from pipeline.decide.verdict import Reason
from tests.pipeline.making import rows

EVERYTHING = DecideConfig(
    rules=RulesConfig(min_side=20, max_aspect=3, min_caption_words=2, min_caption_characters=6),
    decontaminate=DecontaminateConfig(against=({"url": "s3://b/val.tar"},)),
    cut=CutConfig(top_fraction=0.5),
    duplicates=DuplicatesConfig(),
)


def verdicts(*changes, config=None, references=()) -> list[tuple[str | None, str | None]]:
    table = decide(rows(*changes), rows(*references), config or DecideConfig(), WriteConfig()).table
    return list(zip(table["reason"].to_pylist(), table["detail"].to_pylist(), strict=True))


def judged(change, **rules) -> tuple[str | None, str | None]:
    return verdicts(change, config=DecideConfig(rules=RulesConfig(**rules)))[0]


KEPT = (None, None)


def test_without_rules_only_the_unreadable_falls():
    odd = {
        "width": 1,
        "height": 9999,
        "caption_words": 0,
        "caption_characters": 0,
        "clip_score": None,
    }
    assert verdicts(odd, {"error": "decode_failed: bad Huffman code"}) == [
        KEPT,
        ("unreadable", "decode_failed: bad Huffman code"),
    ]


def test_small_images_fall_by_their_shorter_side():
    small = ("too_small", "200 x 19 pixels: a side is under 20")
    assert judged({"width": 200, "height": 19}, min_side=20) == small
    assert judged({"width": 200, "height": 20}, min_side=20) == KEPT
    assert judged({"width": 19, "height": 200}, min_side=20)[0] == "too_small"


def test_strips_fall_beyond_the_ratio_and_not_at_it():
    assert judged({"width": 301, "height": 100}, max_aspect=3) == (
        "extreme_aspect",
        "301 x 100 is beyond 3 : 1",
    )
    assert judged({"width": 300, "height": 100}, max_aspect=3) == KEPT
    assert judged({"width": 100, "height": 251}, max_aspect=2.5)[1] == "100 x 251 is beyond 2.5 : 1"


def test_captions_fall_by_words_and_by_characters():
    short = {"caption_words": 2, "caption_characters": 5}
    assert judged(short, min_caption_words=3) == ("caption_too_short", "2 words, fewer than 3")
    assert judged(short, min_caption_words=2) == KEPT
    assert judged(short, min_caption_characters=6) == (
        "caption_too_short",
        "5 characters, fewer than 6",
    )
    assert judged(short, min_caption_characters=5) == KEPT


@pytest.mark.parametrize(
    "rules",
    [{"min_side": -1}, {"max_aspect": 0.5}, {"min_words": 3}, {"min_caption_words": -2}],
)
def test_settings_that_make_no_sense_are_refused(rules):
    with pytest.raises(ValidationError, match=next(iter(rules))):
        RulesConfig(**rules)


FAULTS = [
    ("unreadable", {"error": "empty: no bytes"}),
    ("contaminated", {"sha256": "e" * 64}),
    ("too_small", {"width": 10, "height": 11}),
    ("extreme_aspect", {"width": 1000, "height": 100}),
    ("caption_too_short", {"caption_words": 1}),
    ("no_score", {"clip_score": float("nan")}),
    ("low_score", {"clip_score": 0.1}),
    ("exact_duplicate", {"sha256": "d" * 64}),
]
FINE = [{"clip_score": 0.9, "sha256": "d" * 64}, {"clip_score": 0.2}]


@pytest.mark.parametrize(("reason", "fault"), FAULTS)
def test_each_fault_alone_has_its_reason(reason, fault):
    change = {"clip_score": 0.9, "uid": "f" * 32} | fault
    found = verdicts(
        change, *FINE, {"clip_score": 0.1}, config=EVERYTHING, references=[{"sha256": "e" * 64}]
    )
    assert found[0][0] == reason


@pytest.mark.parametrize("first", range(len(FAULTS) - 1))
def test_a_row_with_many_faults_has_the_reason_of_the_first_rule(first):
    """In DESIGN's order, where of two faults in one column the worse one stands."""
    change = {"clip_score": 0.9, "uid": "f" * 32}
    for _, fault in reversed(FAULTS[first:]):
        change |= fault
    found = verdicts(
        change, *FINE, {"clip_score": 0.1}, config=EVERYTHING, references=[{"sha256": "e" * 64}]
    )
    assert found[0][0] == FAULTS[first][0]


def test_reasons_are_listed_in_the_order_of_the_rules():
    assert [reason.value for reason in Reason] == [reason for reason, _ in FAULTS] + [
        "near_duplicate"
    ]
