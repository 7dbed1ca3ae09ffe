"""Precision and recall of the top fraction, and their intervals."""

import numpy as np
import pytest

from pipeline.assess import filtering
from pipeline.assess.filtering import precision_recall
from pipeline.assess.intervals import bootstrap
from pipeline.assess.noise import CLEAN, OFF_TOPIC, SHUFFLED
from pipeline.assess.top import top

KIND = np.array([CLEAN, SHUFFLED, CLEAN, OFF_TOPIC, CLEAN, CLEAN, SHUFFLED, CLEAN], np.int8)
SCORES = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.5, 0.4, 0.3], np.float32)


def pool(n: int, seed: int):
    """Half is clean, and scores a standard deviation and a half higher."""
    random = np.random.default_rng(seed)
    kind = random.choice([CLEAN, SHUFFLED, OFF_TOPIC], n, p=[0.5, 0.3, 0.2]).astype(np.int8)
    return random.normal(size=n) + 1.5 * (kind == CLEAN), kind


def test_shares_are_counted():
    [found] = precision_recall(SCORES, KIND, [0.5], seed=0)
    assert found.rows == 4
    assert found.precision.value == 3 / 4
    assert found.recall.value == 3 / 5
    assert found.lift == pytest.approx((3 / 4) / (5 / 8))
    assert found.kept == {"shuffled": 0.5, "off_topic": 0.0}


def test_all_and_none_are_fractions_too():
    none, whole = precision_recall(SCORES, KIND, [0, 1], seed=0, rounds=50)
    assert none.rows == 0
    assert np.isnan(none.precision).all()
    assert np.isnan(none.lift)
    assert none.recall == (0, 0, 0)
    assert (whole.rows, whole.recall, whole.lift) == (8, (1, 1, 1), 1)
    assert whole.precision.value == 5 / 8
    assert whole.kept == {"shuffled": 1, "off_topic": 1}


@pytest.mark.parametrize("fraction", [0.1, 0.29, 0.5])
def test_every_resample_is_cut_as_a_pool_of_copied_rows(fraction, monkeypatch):
    scores, kind = pool(60, 0)
    scores[::7] = scores[3]
    scores[5] = np.nan
    drawn = []

    def watched(statistic, n, seed, rounds):
        def keep(weights):
            drawn.append((weights, statistic(weights)))
            return drawn[-1][1]

        return bootstrap(keep, n, seed, rounds)

    monkeypatch.setattr(filtering, "bootstrap", watched)
    precision_recall(scores, kind, [fraction], seed=2, rounds=20)
    (precise, _), (recalled, _) = drawn[:2], drawn[2:]
    for weights, precision, recall in zip(precise[0], precise[1], recalled[1], strict=True):
        rows = np.repeat(np.arange(60), weights.astype(int))
        kept, clean = top(scores[rows], fraction), kind[rows] == CLEAN
        assert precision == pytest.approx(clean[kept].mean())
        assert recall == pytest.approx(kept[clean].mean())


def test_rows_without_a_score_are_dropped_and_missed():
    scores = SCORES.copy()
    scores[[0, 3]] = np.nan, np.inf
    [found] = precision_recall(scores, KIND, [1], seed=0, rounds=50)
    assert found.rows == 6
    assert found.precision.value == 4 / 6
    assert found.recall.value == 4 / 5
    assert found.kept == {"shuffled": 1, "off_topic": 0}
    [nothing] = precision_recall(np.full(8, np.nan), KIND, [0.5], seed=0, rounds=50)
    assert nothing.rows == 0
    assert nothing.recall.value == 0


def test_a_pool_without_noise_or_without_clean_rows():
    [clean] = precision_recall(SCORES, np.zeros(8, np.int8), [0.5], seed=0, rounds=50)
    assert (clean.precision, clean.lift, clean.kept) == ((1, 1, 1), 1, {})
    [noise] = precision_recall(SCORES, np.full(8, SHUFFLED), [0.5], seed=0, rounds=50)
    assert noise.precision == (0, 0, 0)
    assert np.isnan([*noise.recall, noise.lift]).all()


def test_a_score_that_says_nothing_does_not_lift():
    found = []
    for seed in range(40):
        _, kind = pool(2000, seed)
        for scores in (np.zeros(2000), np.random.default_rng(1000 + seed).random(2000)):
            found += precision_recall(scores, kind, [0.25], seed, rounds=1)
    assert np.mean([each.lift for each in found]) == pytest.approx(1, abs=0.02)
    assert np.mean([each.recall.value for each in found]) == pytest.approx(0.25, abs=0.005)


def test_the_intervals_hold_the_truth_19_times_of_20():
    [truth] = precision_recall(*pool(1_000_000, 0), [0.3], seed=0, rounds=1)
    held = {"precision": 0, "recall": 0}
    for repeat in range(300):
        [found] = precision_recall(*pool(200, 1 + repeat), [0.3], repeat, rounds=200)
        for name in held:
            _, low, high = getattr(found, name)
            held[name] += low <= getattr(truth, name).value <= high
    assert all(0.91 <= count / 300 <= 0.985 for count in held.values()), held


def test_a_seed_gives_the_same_bits_and_the_order_of_rows_changes_no_value():
    scores, kind = pool(300, 0)
    one, again = (precision_recall(scores, kind, [0.1, 0.4], 5, 100) for _ in range(2))
    assert one == again
    order = np.random.default_rng(0).permutation(300)
    turned = precision_recall(scores[order], kind[order], [0.1, 0.4], 5, 100)
    for mine, other in zip(one, turned, strict=True):
        assert mine.precision.value == other.precision.value
        assert mine.recall.value == other.recall.value
        assert mine.kept == other.kept


def test_scores_of_other_rows_are_the_callers_mistake():
    for scores, kind in ((SCORES[:3], KIND), (SCORES[:0], KIND[:0])):
        with pytest.raises(ValueError, match="not of the same rows"):
            precision_recall(scores, kind, [0.5], seed=0)
