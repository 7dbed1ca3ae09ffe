"""Selection by the nearest centroid."""

import re

import numpy as np
import pytest

from pipeline.decide import clusters
from pipeline.decide.clusters import ClustersConfig, kept_clusters, nearest
from pipeline.decide.verdict import Reason, Verdicts
from pipeline.format.errors import HeadraceError
from pipeline.ledger import CLIP_SCHEMA
from tests.pipeline.making import rows

EMBEDDING = {"clip_embedding": CLIP_SCHEMA.field("clip_embedding").type}
CENTROIDS = np.array([[1, 0], [0, 1], [-3, -3]], np.float32)


def table(*embeddings):
    return rows(*({"clip_embedding": vector} for vector in embeddings), **EMBEDDING)


def config(folder, centroids=CENTROIDS, keep=None) -> ClustersConfig:
    np.save(folder / "centroids.npy", centroids)
    if keep is not None:
        np.save(folder / "keep.npy", np.array(keep))
    return ClustersConfig(
        centroids=str(folder / "centroids.npy"),
        keep=None if keep is None else str(folder / "keep.npy"),
    )


def judged(some: ClustersConfig, *embeddings, fallen=()):
    verdicts = Verdicts(len(embeddings))
    for row in fallen:
        verdicts.drop_row(row, Reason.UNREADABLE, "x")
    found = clusters.drop_outside(verdicts, table(*embeddings), some, clusters.prepare(some))
    return found.tolist(), list(zip(verdicts.reason, verdicts.detail, strict=True))


def test_rows_near_a_kept_centroid_stand(tmp_path):
    some = config(tmp_path, keep=[0, 2])
    found, verdicts = judged(some, [0.9, 0.1], [0.1, 0.9], [-0.6, -0.6])
    assert found == [0, 1, 2]
    assert verdicts == [
        (None, None),
        ("not_selected", f"nearest to cluster 1, which is not in {some.keep}"),
        (None, None),
    ]


def test_rows_without_an_embedding_fall(tmp_path):
    found, verdicts = judged(config(tmp_path, keep=[0, 1, 2]), None, [0, 1])
    assert found == [-1, 1]
    assert verdicts == [("not_selected", "no clip_embedding"), (None, None)]


def test_the_last_cluster_is_not_mistaken_for_none(tmp_path):
    """-1 stands for no cluster, and would be the last one's index."""
    some = config(tmp_path, keep=[0])
    assert judged(some, [1, 0], fallen=[0]) == ([-1], [("unreadable", "x")])
    some = config(tmp_path, keep=[2])
    assert judged(some, None)[1] == [("not_selected", "no clip_embedding")]


def test_without_a_choice_all_are_kept_and_told(tmp_path):
    found, verdicts = judged(config(tmp_path), [1, 0], [0, 1])
    assert found == [0, 1]
    assert verdicts == [(None, None)] * 2


def test_rows_that_fell_before_are_not_looked_at(tmp_path):
    found, _ = judged(config(tmp_path), [1, 0], [0, 1], fallen=[0])
    assert found == [-1, 1]
    assert judged(config(tmp_path), [1, 0], fallen=[0])[0] == [-1]
    assert judged(config(tmp_path))[0] == []


@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
def test_nearest_is_by_inner_product_whatever_the_block(monkeypatch, at_once):
    monkeypatch.setattr(clusters, "AT_ONCE", at_once)
    random = np.random.default_rng(1)
    embeddings = random.standard_normal((37, 8)).astype(np.float32)
    centroids = random.standard_normal((11, 8)).astype(np.float32)
    literally = [
        max(range(11), key=lambda c: (float(np.dot(one, centroids[c])), -c)) for one in embeddings
    ]
    assert nearest(embeddings, centroids).tolist() == literally


def test_of_equal_centroids_the_first_is_nearest():
    assert nearest(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)).tolist() == [0]


def test_kept_clusters_are_those_of_the_references():
    references = np.array([[0, 1], [-1, -1], [0.1, 2]], np.float32)
    assert kept_clusters(references, CENTROIDS).tolist() == [1, 2]


def test_centroids_of_another_model_are_refused(tmp_path):
    with pytest.raises(HeadraceError, match="embeddings of 3 numbers, centroids of 2"):
        judged(config(tmp_path), [1, 0, 0])


@pytest.mark.parametrize("keep", [[3], [-1], [0.5], [[0]], [True]])
def test_a_choice_of_clusters_that_are_not_there_is_refused(tmp_path, keep):
    some = config(tmp_path, keep=keep)
    with pytest.raises(HeadraceError, match=r"keep\.npy: not a"):
        clusters.prepare(some)


@pytest.mark.parametrize(
    "centroids", [np.zeros(3), np.zeros((0, 3)), [[np.nan]], np.array([{}]), np.array(["a"])]
)
def test_centroids_that_are_no_matrix_are_refused(tmp_path, centroids):
    some = config(tmp_path, centroids=np.asarray(centroids))
    with pytest.raises(HeadraceError, match=re.escape(f"{some.centroids}: not ")):
        clusters.prepare(some)


def test_files_that_are_no_arrays_are_refused(tmp_path):
    some = config(tmp_path)
    for data in (b"", b"PK\x05\x06" + bytes(18), b"text"):
        (tmp_path / "centroids.npy").write_bytes(data)
        with pytest.raises(HeadraceError, match=r"centroids\.npy: not a \.npy file"):
            clusters.prepare(some)
    assert clusters.files(some) == [some.centroids]
