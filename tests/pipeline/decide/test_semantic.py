"""Clusters of embeddings and close pairs in them, against the plainest way to find them."""

import numpy as np
import pytest

from pipeline.decide import semantic
from pipeline.decide.semantic import SemanticConfig, column, default_clusters, pairs_within, train
from pipeline.format.errors import HeadraceError


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def bunches(random: np.random.Generator, count: int, of: int, spread: float) -> np.ndarray:
    """Unit vectors around some directions, those of one bunch next to each other."""
    centres = unit(random.normal(size=(count, 32)))
    return unit(np.repeat(centres, of, axis=0) + spread * random.normal(size=(count * of, 32)))


def test_all_pairs_above_the_limit_are_found_in_order():
    vectors = bunches(np.random.default_rng(1), 8, 5, 0.05)
    left, right, cosine = pairs_within(vectors, 0.9)
    products = vectors @ vectors.T
    wanted = [(i, j) for i in range(40) for j in range(i + 1, 40) if products[i, j] > 0.9]
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == wanted
    assert cosine == pytest.approx([products[pair] for pair in wanted], abs=1e-6)
    assert len(wanted) >= 40
    assert [found.dtype for found in (left, right, cosine)] == [np.int64, np.int64, np.float32]


def test_blocks_do_not_show_in_the_pairs(monkeypatch):
    vectors = bunches(np.random.default_rng(2), 20, 6, 0.05)
    left, right, _ = pairs_within(vectors, 0.9)
    monkeypatch.setattr(semantic, "AT_ONCE", 500)
    again = pairs_within(vectors, 0.9)
    assert (again[0].tolist(), again[1].tolist()) == (left.tolist(), right.tolist())


@pytest.mark.parametrize("count", [0, 1])
def test_a_cluster_of_one_or_none_has_no_pairs(count):
    vectors = np.eye(4, dtype=np.float32)[:count]
    assert [len(found) for found in pairs_within(vectors, 0.5)] == [0, 0, 0]


def test_a_crowd_of_equal_embeddings_is_refused(monkeypatch):
    monkeypatch.setattr(semantic, "MAX_PAIRS", 45)
    vectors = np.repeat(np.eye(4, dtype=np.float32)[:1], 11, axis=0)
    assert len(pairs_within(vectors[:10], 0.9)[0]) == 45
    with pytest.raises(HeadraceError, match=r"more than 45 pairs over cosine 0\.9"):
        pairs_within(vectors, 0.9)


def test_clusters_find_the_bunches_that_are_there():
    vectors = bunches(np.random.default_rng(3), 6, 50, 0.02)
    centroids = train(vectors, 20)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(20), abs=1e-5)
    assert (vectors @ centroids.T).max(axis=1).min() > 0.95
    assert (vectors @ train(vectors, 1).T).max(axis=1).min() < 0.5


def test_the_same_sample_gives_the_same_centroids():
    vectors = bunches(np.random.default_rng(4), 5, 40, 0.3)
    assert train(vectors, 9).tobytes() == train(vectors.copy(), 9).tobytes()


def test_there_are_no_more_clusters_than_samples():
    vectors = bunches(np.random.default_rng(5), 3, 1, 0.1)
    assert train(vectors, 10).shape == (3, 32)
    assert train(vectors[:0], 10).shape == (0, 32)


def test_by_default_there_is_a_cluster_for_each_thousand_images():
    assert [default_clusters(rows) for rows in (0, 999, 1000, 12_345)] == [1, 1, 1, 12]


def test_the_column_is_that_of_the_model():
    assert column(SemanticConfig()) == "clip_embedding"
    assert column(SemanticConfig(model="copies")) == "copies_embedding"
