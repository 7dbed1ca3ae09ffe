"""Noise is what it is said to be: exact rates, and no caption exchanged for its like."""

import numpy as np
import pytest

from pipeline.assess.noise import CLEAN, OFF_TOPIC, SHUFFLED, inject, scores_of
from pipeline.format.errors import HeadraceError
from tests.pipeline.assess.pairs import pairs, texts


@pytest.mark.parametrize(
    ("n", "shuffled", "off_topic", "counts"),
    [
        (100, 0.29, 0.07, (64, 29, 7)),
        (20, 0.15, 0.0, (17, 3, 0)),
        (10, 0.5, 0.5, (0, 5, 5)),
        (7, 0.3, 0.4, (3, 2, 2)),
        (9, 0.0, 1.0, (0, 0, 9)),
        (9, 1.0, 0.0, (0, 9, 0)),
        (9, 0.0, 0.0, (9, 0, 0)),
    ],
)
def test_rates_are_exact_to_the_row(n, shuffled, off_topic, counts):
    found = inject(texts(n), 50, shuffled, off_topic, seed=0)
    assert tuple(np.bincount(found.kind, minlength=3)) == counts
    assert len(found.image) == len(found.caption) == n


def test_only_what_the_kind_says_is_changed():
    found = inject(texts(200), 90, 0.3, 0.2, seed=1)
    rows = np.arange(200)
    clean, shuffled, off = (found.kind == kind for kind in (CLEAN, SHUFFLED, OFF_TOPIC))
    assert (found.image[~off] == rows[~off]).all()
    assert (found.caption[~shuffled] == rows[~shuffled]).all()
    assert (found.caption[shuffled] != rows[shuffled]).all()
    assert sorted(found.caption[shuffled]) == rows[shuffled].tolist()
    assert len(set(found.image[off].tolist())) == off.sum()
    assert set(found.image[off].tolist()) <= set(range(90))
    assert clean.sum() == 100


@pytest.mark.parametrize("seed", range(20))
def test_a_shuffled_caption_is_never_of_equal_text(seed):
    random = np.random.default_rng(seed)
    words = [f"a photo of a {kind}" for kind in random.integers(0, 4, 60)]
    found = inject(words, 0, 0.8, 0, seed)
    for row in np.flatnonzero(found.kind == SHUFFLED):
        assert words[found.caption[row]] != words[row]
    assert sorted(found.caption.tolist()) == list(range(60))


def test_two_texts_of_the_same_number_of_rows_just_exchange():
    words = ["a cat", "a dog"] * 5
    found = inject(words, 0, 1, 0, seed=0)
    assert all(words[caption] != words[row] for row, caption in enumerate(found.caption))


def test_every_exchange_of_four_in_a_ring_occurs_as_often():
    found = [tuple(inject(texts(4), 0, 1, 0, seed).caption.tolist()) for seed in range(3000)]
    counts = [found.count(each) for each in set(found)]
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts)


def test_a_seed_gives_the_same_noise_and_another_gives_other():
    one, again, other = (inject(texts(50), 20, 0.4, 0.2, seed) for seed in (3, 3, 4))
    for name in ("image", "caption", "kind"):
        assert (getattr(one, name) == getattr(again, name)).all()
        assert (getattr(one, name) != getattr(other, name)).any()


@pytest.mark.parametrize(
    ("words", "rates", "message"),
    [
        (texts(10), (1.1, 0), "shuffled: a rate of 1.1; give one from 0 to 1"),
        (texts(10), (0, float("nan")), "off_topic: a rate of nan"),
        (texts(10), (0.6, 0.5), "above 1 together"),
        (texts(10), (0, 0.5), "needs 5 off-topic images, and there are 3"),
        (texts(10), (0.1, 0), "1 of the 1 rows to shuffle have the caption"),
        (["a cat"] * 6 + texts(4), (1, 0), "6 of the 10 rows to shuffle have the caption 'a cat'"),
    ],
)
def test_noise_that_cannot_be_made_is_an_error_that_names_the_rate(words, rates, message):
    with pytest.raises(HeadraceError, match=message):
        inject(words, 3, *rates, seed=0)


def test_scores_are_the_cosines_of_what_is_in_each_row():
    images, captions = pairs(40)
    foreign, _ = pairs(30, seed=9)
    found = inject(texts(40), 30, 0.3, 0.3, seed=0)
    scores = scores_of(found, images, captions, foreign)
    assert scores.dtype == np.float32
    for row in range(40):
        pool = foreign if found.kind[row] == OFF_TOPIC else images
        wanted = pool[found.image[row]] @ captions[found.caption[row]]
        assert scores[row] == pytest.approx(wanted, abs=1e-6)


def test_scores_without_off_topic_images_need_none():
    images, captions = pairs(10)
    scores = scores_of(inject(texts(10), 0, 0.4, 0, 0), images, captions, images[:0])
    assert scores.shape == (10,)


def test_embeddings_of_other_pairs_are_refused():
    images, captions = pairs(10)
    found = inject(texts(9), 0, 0.4, 0, 0)
    with pytest.raises(ValueError, match="9 rows"):
        scores_of(found, images, captions, images[:0])
    found = inject(texts(10), 2, 0, 0.2, 0)
    with pytest.raises(HeadraceError, match="off-topic image embedding 0"):
        scores_of(found, images, captions, images[:2] * 2)
