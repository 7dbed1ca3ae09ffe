import io

import numpy as np
import pytest
import torch

from pipeline.format.errors import HeadraceError
from tests.trainer.objective import dense
from trainer.objective.targets import kmeans
from trainer.objective.targets.kmeans import KMeans, fit, nearest, read_codebook

P = 12


def random_tensor(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


IMAGES, CODEBOOK = random_tensor(4, 3, 6, 6), random_tensor(20, P, seed=1)
WANTED = torch.tensor([35, 0, 9, 17, 9])  # of 9 patches each


def literal_numbers():
    chosen = dense.normalised(IMAGES.double(), 2).flatten(0, 1)[WANTED]
    return [int(((CODEBOOK.double() - patch) ** 2).sum(1).argmin()) for patch in chosen]


def test_a_patch_is_the_number_of_the_centroid_nearest_to_it_without_mean_and_contrast():
    found = KMeans(CODEBOOK, 2).wanted_values(IMAGES, WANTED)
    assert found.dtype == torch.int64
    assert found.tolist() == literal_numbers()


def test_half_precision_around_it_changes_no_number(monkeypatch):
    monkeypatch.setattr(kmeans, "AT_ONCE", 64)
    patches, codebook = random_tensor(500, P), random_tensor(300, P, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        numbers, distances = nearest(patches, codebook)
    literal = torch.cdist(patches.double(), codebook.double()).square().min(dim=1)
    assert torch.equal(numbers, literal.indices)
    torch.testing.assert_close(distances.double(), literal.values, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_negative_log_likelihood_of_the_number():
    predictions = random_tensor(5, 20, seed=2).bfloat16()
    values = torch.tensor([3, 19, 0, 7, 7])
    losses = KMeans(CODEBOOK, 2).losses(predictions, values)
    expected = -predictions.double().softmax(dim=1)[range(5), values].log()
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_likeliest_centroid_is_painted_with_the_true_patchs_mean_and_contrast():
    target = KMeans(CODEBOOK, 2)
    predictions = torch.nn.functional.one_hot(torch.tensor([4, 4, 9, 1, 0]), 20).float()
    painted = target.paint(predictions, IMAGES, WANTED)
    true = dense.patches(IMAGES, 2).flatten(0, 1)[WANTED]
    spread = (true.var(dim=1, keepdim=True) + 1e-6).sqrt()
    expected = CODEBOOK[[4, 4, 9, 1, 0]] * spread + true.mean(dim=1, keepdim=True)
    torch.testing.assert_close(painted, expected)


def clustered(vocabulary=6, each=50):
    centres = 10 * random_tensor(vocabulary, P)
    return (centres[:, None] + 0.01 * random_tensor(vocabulary, each, P)).flatten(0, 1)


def test_a_fits_centroids_are_the_means_of_what_is_nearest_to_them():
    patches = clustered()
    codebook = fit(patches, 6, seed=0)
    assert (codebook.shape, codebook.dtype) == ((6, P), torch.float32)
    numbers, distances = nearest(patches, codebook)
    for number in range(6):
        torch.testing.assert_close(codebook[number], patches[numbers == number].mean(dim=0))
    assert distances.mean() < 0.5 * nearest(patches, patches[:6])[1].mean()


def test_a_fit_is_the_same_every_time_and_another_for_another_seed():
    patches = random_tensor(300, P)
    assert torch.equal(fit(patches, 9, seed=0), fit(patches, 9, seed=0))
    assert not torch.equal(fit(patches, 9, seed=0), fit(patches, 9, seed=1))


def test_a_fit_of_patches_that_are_mostly_equal_wastes_no_centroid():
    """Flat patches are all zeros, and many: a start among them would be dead."""
    patches = clustered(vocabulary=4)
    codebook = fit(torch.cat([torch.zeros(2000, P), patches]), 5, seed=1)
    counts = torch.bincount(nearest(torch.cat([torch.zeros(1, P), patches]), codebook)[0])
    assert sorted(counts.tolist()) == [1, 50, 50, 50, 50]


def test_a_fit_of_too_few_patches_is_refused():
    with pytest.raises(ValueError, match="5 patches do not make 6 centroids"):
        fit(torch.zeros(5, P), 6, seed=0)


def test_a_codebook_is_read_with_its_digest(tmp_path):
    np.save(tmp_path / "book.npy", CODEBOOK.numpy())
    target = read_codebook(str(tmp_path / "book.npy"), 2)
    assert torch.equal(target.codebook, CODEBOOK)
    assert target.outputs == 20
    np.save(tmp_path / "book.npy", CODEBOOK.numpy() + 1)
    assert len(target.digest) == 64
    assert read_codebook(str(tmp_path / "book.npy"), 2).digest != target.digest


def saved(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"rubbish", "not a .npy file"),
        (b"", "not a .npy file"),
        (saved(np.array([{}], object)), "not a .npy file"),  # pickled
        (saved(np.zeros((20, P + 1), np.float32)), r"\(V, 12\) float32 .* not \(20, 13\) float32"),
        (saved(np.zeros((20, P))), r"not \(20, 12\) float64"),
        (saved(np.zeros((1, P), np.float32)), r"V at least 2, not \(1, 12\)"),
        (saved(np.zeros(P, np.float32)), r"not \(12,\)"),
        (saved(np.full((20, P), np.nan, np.float32)), "not finite"),
    ],
)
def test_what_is_no_codebook_for_these_patches_is_refused(tmp_path, data, words):
    (tmp_path / "book.npy").write_bytes(data)
    with pytest.raises(HeadraceError, match=rf"objective.target.codebook: .*book.npy: .*{words}"):
        read_codebook(str(tmp_path / "book.npy"), 2)


def test_a_codebook_that_is_missing_is_named(tmp_path):
    with pytest.raises(HeadraceError, match=r"book\.npy"):
        read_codebook(str(tmp_path / "book.npy"), 2)
