"""AUC is exact, weighted or not, and its interval covers it."""

import numpy as np
import pytest

from pipeline.assess import auc as module
from pipeline.assess.auc import auc, matched_auc, mismatches
from pipeline.assess.cosines import cosines
from pipeline.assess.intervals import bootstrap
from tests.pipeline.assess.pairs import pairs, shared, texts


def counted(positive, negative) -> float:
    """Pair by pair."""
    larger = positive[:, None] > negative
    return float((larger + (positive[:, None] == negative) / 2).mean())


def resampled(similarity, others, words, weights) -> float:
    """The AUC of images that are there as often as their weights say, pair by pair."""
    matched, mismatched = [], []
    for row, times in enumerate(weights.astype(int)):
        own = [similarity[row, j] for j in others[row] if words[j] != words[row]]
        matched += [similarity[row, row]] * times
        mismatched += own * times
    return counted(np.array(matched), np.array(mismatched))


@pytest.mark.parametrize("values", [3, 20, 10_000])
def test_auc_is_the_share_of_pairs_with_ties_as_half(values):
    random = np.random.default_rng(values)
    positive, negative = random.integers(0, values, 40), random.integers(0, values, 70)
    assert auc(positive, negative) == pytest.approx(counted(positive, negative), abs=1e-12)


def test_auc_of_what_is_told_apart_of_its_reverse_and_of_ties():
    low, high = np.array([0.1, 0.2]), np.array([0.3, 0.4, 0.5])
    assert (auc(high, low), auc(low, high), auc(low, low)) == (1, 0, 0.5)
    for empty in ((low, low[:0]), (low[:0], low)):
        with pytest.raises(ValueError, match="no positives, or no negatives"):
            auc(*empty)


def test_matched_pairs_are_compared_with_all_mismatched_ones():
    images, captions = pairs(60, noise=2)
    similarity = cosines(images, captions)
    off = similarity[~np.eye(60, dtype=bool)]
    found = matched_auc(images, captions, texts(60), seed=0)
    assert found.value == pytest.approx(counted(np.diag(similarity), off), abs=1e-12)
    assert 0.6 < found.low < found.value < found.high < 1


@pytest.mark.parametrize("n", [40, 130])
def test_every_resample_is_the_auc_of_copied_images(n, monkeypatch):
    images, captions, words = shared(n, 15)
    monkeypatch.setattr(module, "MISMATCHED", 50)
    similarity, others, drawn = cosines(images, captions), mismatches(n, 3), []

    def watched(statistic, n, seed, rounds):
        def keep(weights):
            drawn.append((weights, statistic(weights)))
            return drawn[-1][1]

        return bootstrap(keep, n, seed, rounds)

    monkeypatch.setattr(module, "bootstrap", watched)
    matched_auc(images, captions, words, seed=3, rounds=5)
    assert sum(len(weights) for weights, _ in drawn) == 6
    for weights, found in drawn:
        wanted = [resampled(similarity, others, words, one) for one in weights]
        assert found == pytest.approx(wanted, abs=1e-12)


def test_mismatches_are_all_others_or_so_many_of_them():
    few, many = mismatches(101, 0), mismatches(500, 0)
    assert [sorted(row) for row in few.tolist()] == [
        [other for other in range(101) if other != row] for row in range(101)
    ]
    assert many.shape == (500, 100)
    for row, others in enumerate(many.tolist()):
        assert len({*others, row}) == 101
    assert (many != mismatches(500, 1)).any()
    counts = np.bincount(many.ravel(), minlength=500)
    assert abs(counts - 100).max() < 50  # 9 is a standard deviation: none is left out


def test_every_set_of_mismatches_is_drawn_as_often(monkeypatch):
    monkeypatch.setattr(module, "MISMATCHED", 2)
    drawn = [tuple(sorted(mismatches(5, seed)[0].tolist())) for seed in range(3000)]
    counts = [drawn.count(each) for each in set(drawn)]
    assert len(counts) == 6  # 2 of 4
    assert all(400 < count < 600 for count in counts)


def test_captions_of_equal_text_are_no_mismatch():
    images, captions, _ = shared(30, 1)
    two = ["a cat"] * 15 + ["a dog"] * 15
    captions[15:] = -captions[15:]
    images[:15], images[15:] = captions[0], captions[15]
    assert matched_auc(images, captions, two, seed=0) == (1, 1, 1)


def test_a_model_that_tells_nothing_apart_is_at_chance():
    images, captions = (np.repeat(each[:1], 150, axis=0) for each in pairs(1, d=513))
    assert matched_auc(images, captions, texts(150), seed=0, rounds=20) == (0.5, 0.5, 0.5)


def test_the_order_of_the_rows_does_not_matter_while_all_are_compared():
    images, captions, words = shared(90, 40)
    order = np.random.default_rng(1).permutation(90)
    turned = [words[row] for row in order]
    one = matched_auc(images, captions, words, seed=0, rounds=2)
    other = matched_auc(images[order], captions[order], turned, seed=0, rounds=2)
    assert one.value == pytest.approx(other.value, abs=1e-14)


def test_a_hundred_mismatches_are_nearly_as_good_as_all():
    images, captions = pairs(1000, noise=2)
    similarity = cosines(images, captions)
    whole = auc(np.diag(similarity), similarity[~np.eye(1000, dtype=bool)])
    assert matched_auc(images, captions, texts(1000), 0, rounds=1).value == pytest.approx(
        whole, abs=0.003
    )


def test_a_seed_gives_the_same_bits():
    images, captions = pairs(120)
    one, again, other = (matched_auc(images, captions, texts(120), s, 50) for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_the_interval_holds_the_truth_19_times_of_20():
    images, captions = pairs(6000, noise=2)
    similarity = cosines(images[:2000], captions[:2000])
    truth = auc(np.diag(similarity), similarity[~np.eye(2000, dtype=bool)])
    held = 0
    for repeat in range(150):
        rows = np.random.default_rng(repeat).choice(6000, 100, replace=False)
        found = matched_auc(images[rows], captions[rows], texts(100), repeat, rounds=200)
        held += found.low <= truth <= found.high
    assert 0.9 <= held / 150 <= 0.99
