"""Safety: nothing passes that scores too high, or was not scored."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.decide.safety import SafetyConfig, columns, drop_unsafe
from pipeline.decide.verdict import Verdicts
from tests.pipeline.making import rows

KEPT = (None, None)


def judged(change, **limits) -> tuple[str | None, str | None]:
    verdicts = Verdicts(1)
    table = rows(change, nsfw=pa.float32(), gore=pa.float32())
    drop_unsafe(verdicts, table, SafetyConfig(max=limits))
    return verdicts.reason[0], verdicts.detail[0]


def test_a_score_over_the_limit_is_unsafe_and_one_at_it_is_not():
    assert judged({"nsfw": 0.1}, nsfw=0.1) == KEPT
    assert judged({"nsfw": 0.11}, nsfw=0.1) == ("unsafe", "nsfw 0.11 is over 0.1")


@pytest.mark.parametrize("score", [None, float("nan"), float("-inf"), float("inf")])
def test_a_row_without_a_score_is_unsafe(score):
    assert judged({"nsfw": score}, nsfw=0.1) == ("unsafe", "no nsfw")


def test_all_scores_must_pass_and_the_first_by_name_is_told():
    scores = {"nsfw": 0.5, "gore": 0.5}
    assert judged(scores, nsfw=0.1, gore=0.1) == ("unsafe", "gore 0.5 is over 0.1")
    assert judged(scores, nsfw=0.1, gore=0.9) == ("unsafe", "nsfw 0.5 is over 0.1")
    assert judged(scores, nsfw=0.9, gore=0.9) == KEPT
    assert columns(SafetyConfig(max={"nsfw": 1, "gore": 1})) == {"nsfw", "gore"}


def test_safety_without_a_score_is_refused():
    with pytest.raises(ValidationError, match="at least 1 item"):
        SafetyConfig(max={})
