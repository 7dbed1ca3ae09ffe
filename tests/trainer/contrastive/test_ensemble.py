"""Two filters averaged."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.clip import names, saving
from pipeline.clip.opening import new_model, open_model
from pipeline.format.errors import HeadraceError
from tests.trainer.contrastive.models import RESNET, VIT
from trainer.contrastive.ensemble import ensemble
from trainer.contrastive.export import PREPROCESS


def written(folder: Path, model: dict, seed: int, preprocess: dict = PREPROCESS) -> str:
    opened = new_model(model, seed, "model")
    saving.save(str(folder), model, preprocess, opened.clip.state_dict(), {})
    return f"local-dir:{folder}"


@pytest.fixture
def two(tmp_path) -> list[str]:
    return [written(tmp_path / str(seed), VIT, seed) for seed in (1, 2)]


def weights(name: str) -> dict[str, torch.Tensor]:
    return open_model(name).clip.state_dict()


def test_at_its_ends_it_is_one_of_the_two_bit_for_bit(two, tmp_path):
    for alpha, like in ((0.0, two[0]), (1.0, two[1])):
        found = weights(ensemble(*two, alpha, str(tmp_path / "mean")))
        assert all(torch.equal(found[key], value) for key, value in weights(like).items())


def test_between_them_weights_are_averaged(two, tmp_path):
    found = weights(ensemble(*two, 0.25, str(tmp_path / "mean")))
    one, other = (weights(name) for name in two)
    assert not torch.equal(one["visual.proj"], other["visual.proj"])
    for key, value in found.items():
        assert torch.allclose(value, 0.75 * one[key] + 0.25 * other[key], atol=1e-6)


def test_counters_stay_the_first_ones(tmp_path):
    two = [written(tmp_path / str(seed), RESNET, seed) for seed in (1, 2)]
    found = weights(ensemble(*two, 0.5, str(tmp_path / "mean")))
    counters = [value for value in found.values() if not value.is_floating_point()]
    assert counters
    assert all(value.dtype == torch.int64 for value in counters)


def test_the_record_names_both_and_their_shares(two, tmp_path):
    ensemble(*two, 0.5, str(tmp_path / "mean"))
    record = json.loads((tmp_path / "mean" / "filter.json").read_bytes())
    assert record["alpha"] == 0.5
    digests = [names.digest(name, None, "model") for name in two]
    assert [record["one_sha256"], record["other_sha256"]] == digests


def test_models_that_differ_have_no_mean_and_are_told_in_what(two, tmp_path):
    wider = written(tmp_path / "wider", VIT | {"embed_dim": 24}, 3)
    with pytest.raises(HeadraceError, match=r"no mean: model_cfg.embed_dim was 16, now 24"):
        ensemble(two[0], wider, 0.5, str(tmp_path / "mean"))
    cropped = written(tmp_path / "cropped", VIT, 4, {"resize_mode": "shortest"})
    with pytest.raises(HeadraceError, match="resize_mode was squash, now shortest"):
        ensemble(two[0], cropped, 0.5, str(tmp_path / "mean"))
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_shares_beyond_one_of_the_two_are_refused(two, tmp_path, alpha):
    with pytest.raises(HeadraceError, match="alpha"):
        ensemble(*two, alpha, str(tmp_path / "mean"))
