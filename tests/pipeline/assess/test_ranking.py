import numpy as np
import pytest

from pipeline.assess.ranking import rank


def test_filters_in_one_order_are_said_to_be():
    found = rank({"small": 0.6, "large": 0.9}, {"large": 0.5, "small": 0.4})
    assert found.by_accuracy == found.by_filtering == ("large", "small")
    assert found.same
    assert (found.spearman, found.kendall) == (pytest.approx(1), pytest.approx(1))
    assert found.sentence == "Accuracy and filtering order the filters alike: large, small."


def test_filters_in_another_order_are_named_in_both():
    found = rank({"a": 0.9, "b": 0.8, "c": 0.7}, {"a": 0.2, "b": 0.9, "c": 0.1})
    assert not found.same
    assert found.spearman == pytest.approx(0.5)
    assert found.kendall == pytest.approx(1 / 3)
    assert found.sentence == "The orders differ: by accuracy a, b, c; by filtering b, a, c."


def test_equal_filters_are_one_order_only_if_equal_in_both():
    assert rank({"a": 1, "b": 1, "c": 0}, {"a": 5, "b": 5, "c": 4}).same
    found = rank({"b": 1, "a": 1, "c": 1}, {"a": 5, "b": 5, "c": 4})
    assert not found.same
    assert found.by_accuracy == ("a", "b", "c")
    assert np.isnan([found.spearman, found.kendall]).all()


@pytest.mark.parametrize(
    ("accuracy", "filtering"),
    [({"a": 1}, {"a": 1}), ({"a": 1, "b": 2}, {"a": 1}), ({"a": 1, "b": 2}, {"a": np.nan, "b": 1})],
)
def test_figures_of_other_filters_are_the_callers_mistake(accuracy, filtering):
    with pytest.raises(ValueError, match="a ranking"):
        rank(accuracy, filtering)
