"""Wilson's interval of a share: by its formula, at its ends, and how often it holds the truth."""

from math import comb

import pytest

from pipeline.assess.proportions import wilson


def test_the_bounds_are_the_shares_that_the_test_of_a_share_just_keeps():
    found = wilson(70, 100)
    for bound in (found.low, found.high):  # |0.7 - p| is 1.96 of p's own deviations
        deviations = abs(0.7 - bound) / (bound * (1 - bound) / 100) ** 0.5
        assert deviations == pytest.approx(1.959964, abs=1e-6)
    assert found.low < found.value == 0.7 < found.high


def test_none_right_and_all_right_end_at_the_share_and_have_a_width():
    none, every = wilson(0, 50), wilson(50, 50)
    assert none[:2] == (0, 0)
    assert (every.value, every.high) == (1, 1)
    assert none.high == pytest.approx(1 - every.low)
    assert 0.05 < none.high < 0.1


def test_it_holds_the_truth_as_often_as_its_docstring_says():
    held = [_coverage(100, share / 100) for share in range(5, 96)]
    assert 0.925 < min(held) < 0.935
    assert max(held) < 0.975
    assert sum(held) / len(held) == pytest.approx(0.95, abs=0.002)


def _coverage(n: int, share: float) -> float:
    """By the exact binomial."""
    found = [wilson(right, n) for right in range(n + 1)]
    return sum(
        comb(n, right) * share**right * (1 - share) ** (n - right)
        for right, one in enumerate(found)
        if one.low <= share <= one.high
    )


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(right, n):
    with pytest.raises(ValueError, match="is no share"):
        wilson(right, n)
