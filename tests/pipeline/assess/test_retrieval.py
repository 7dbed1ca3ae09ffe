"""Ranks against a brute force; equal texts and ties."""

import numpy as np
import pytest

from pipeline.assess import retrieval
from pipeline.assess.cosines import cosines
from pipeline.assess.retrieval import CAPTION_TO_IMAGE, IMAGE_TO_CAPTION, recall
from tests.pipeline.assess.pairs import pairs, shared, texts

KS = (1, 3, 10)


def values(found) -> dict[str, dict[int, float]]:
    return {way: {k: one.value for k, one in by_k.items()} for way, by_k in found.items()}


def brute(images, captions, words) -> dict[str, dict[int, float]]:
    """One query after the other, with sets of texts."""
    similarity = cosines(images, captions).tolist()
    rows = range(len(words))
    forward, backward = [], []
    for image in rows:
        best = {words[j]: similarity[image][j] for j in rows}
        own = best.pop(words[image])
        forward.append(sum(score >= own for score in best.values()))
    for text in set(words):
        caption = words.index(text)
        own = max(similarity[i][caption] for i in rows if words[i] == text)
        others = [i for i in rows if words[i] != text]
        backward.append(sum(similarity[i][caption] >= own for i in others))
    ahead = {IMAGE_TO_CAPTION: forward, CAPTION_TO_IMAGE: backward}
    return {way: {k: np.mean(np.array(each) < k) for k in KS} for way, each in ahead.items()}


@pytest.mark.parametrize("at_once", [1 << 23, 200])
@pytest.mark.parametrize("kinds", [6, 30, 1000])
def test_recall_is_that_of_one_query_after_the_other(kinds, at_once, monkeypatch):
    monkeypatch.setattr(retrieval, "AT_ONCE", at_once)
    images, captions, words = shared(60, kinds) if kinds < 60 else (*pairs(60), texts(60))
    found = values(recall(images, captions, words, 0, KS, rounds=2))
    wanted = brute(images, captions, words)
    assert found == {way: pytest.approx(by_k) for way, by_k in wanted.items()}
    assert 0 < found[IMAGE_TO_CAPTION][1] < 1


def test_a_model_that_finds_everything_scores_1():
    _, captions = pairs(30)
    found = recall(captions, captions, texts(30), seed=0, rounds=10)
    assert {one for by_k in found.values() for one in by_k.values()} == {(1, 1, 1)}


def test_a_model_that_tells_nothing_apart_scores_0():
    images, captions = (np.repeat(each[:1], 50, axis=0) for each in pairs(1, d=513))
    found = recall(images, captions, texts(50), seed=0, rounds=10)
    assert {one for by_k in found.values() for one in by_k.values()} == {(0, 0, 0)}


def test_the_order_of_the_rows_does_not_matter():
    images, captions, words = shared(80, 30)
    order = np.random.default_rng(2).permutation(80)
    one = recall(images, captions, words, 0, KS, rounds=2)
    other = recall(images[order], captions[order], [words[i] for i in order], 0, KS, rounds=2)
    assert values(one) == {way: pytest.approx(by_k) for way, by_k in values(other).items()}


def test_random_embeddings_find_the_right_one_by_chance():
    (images, _), (_, captions) = pairs(400, seed=1), pairs(400, seed=2)
    found = values(recall(images, captions, texts(400), 0, (40, 400), rounds=2))
    for by_k in found.values():
        assert by_k[40] == pytest.approx(0.1, abs=0.05)
        assert by_k[400] == 1


def test_the_interval_is_that_of_so_many_queries():
    images, captions = pairs(400)
    found = recall(images, captions, texts(400), seed=0)
    for by_k in found.values():
        share = by_k[1].value
        width = 2 * 1.96 * np.sqrt(share * (1 - share) / 400)
        assert by_k[1].high - by_k[1].low == pytest.approx(width, rel=0.1)
        assert by_k[1].value <= by_k[5].value <= by_k[10].value


def test_texts_are_asked_for_once_however_many_images_have_them():
    images, captions = pairs(4, noise=0)
    captions[1] = captions[2] = captions[0]
    images[1] = images[2] = images[0]
    images[3] = -captions[3]
    found = values(recall(images, captions, ["a", "a", "a", "b"], 0, (1,), rounds=2))
    assert found == {IMAGE_TO_CAPTION: {1: 0.75}, CAPTION_TO_IMAGE: {1: 0.5}}


def test_a_seed_gives_the_same_bits():
    images, captions = pairs(50)
    one, again, other = (recall(images, captions, texts(50), seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_k_of_0_is_the_callers_mistake():
    with pytest.raises(ValueError, match="at least 1"):
        recall(*pairs(4), texts(4), seed=0, ks=(0, 1))
