"""Every option of model and objective trains, is validated, drawn and resumed, on any ranks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainer.runs import MODEL, assert_bitwise_equal, facts, tensors, train_each
from trainer.config import TrainConfig
from trainer.objective.targets.kmeans import fit
from trainer.train import train

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.(trace|save|load):FutureWarning")

OPTIONS = {
    "paper": {},
    "spiral": {"objective": {"order": "spiral"}},
    "checkerboard": {"objective": {"order": "checkerboard", "attention": "causal"}},
    "random": {"objective": {"order": "random_fixed"}},
    "reversed": {"objective": {"order": "reversed_raster"}},
    "columns": {"objective": {"order": "column_major"}},
    "independent": {"objective": {"prefixes": "independent"}},
    "masked": {"objective": {"kind": "masked"}},
    "masked-more": {"objective": {"kind": "masked", "mask_ratio": 0.75}},
    "pixels": {"objective": {"target": {"kind": "pixels"}}},
    "kmeans": {"objective": {"target": {"kind": "kmeans", "codebook": "codebook.npy"}}},
    "tokens": {"objective": {"target": {"kind": "tokens", "tokenizer": "tokenizer.pt"}}},
    "no-head": {"model": {"head_kind": "none"}},
    "transformer": {"model": {"head_kind": "transformer"}},
    "plain": {"model": {"head_block": "plain", "norm_eps": 1e-6}},
    "overwrite": {"compute": {"attention": "causal_overwrite"}},
}


class Reds(nn.Module):
    """A patch of 8 pixels is called by how red it is: an id from 0 to 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (nn.functional.avg_pool2d(x[:, :1], 8) * 3.999).long().flatten(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A codebook and a tokenizer."""
    folder = tmp_path_factory.mktemp("files")
    patches = torch.randn(64, 192, generator=torch.Generator().manual_seed(0))
    np.save(folder / "codebook.npy", fit(patches, 8, seed=0).numpy())
    torch.jit.trace(Reds(), torch.rand(3, 3, 32, 32)).save(str(folder / "tokenizer.pt"))
    return folder


def with_option(run_config: dict, name: str, files: Path) -> dict:
    """Three steps, saved after two of them, in a folder of the option's name."""
    changes = json.loads(json.dumps(OPTIONS[name]))
    target = changes.get("objective", {}).get("target", {})
    target |= {key: str(files / target[key]) for key in ("codebook", "tokenizer") if key in target}
    target |= {"tokenizer_size": 32, "vocabulary": 4} if "tokenizer" in target else {}
    changes["model"] = MODEL | changes.get("model", {})
    few = {"steps": 3, "log_every": 1, "checkpoint_every": 2, "validate_every": 2}
    return run_config | few | changes | {"run": str(Path(run_config["run"]) / name)}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_trains_is_validated_and_drawn_and_resumes_to_the_bit(
    run_config, tmp_path, files, name, monkeypatch
):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    config = with_option(run_config, name, files)
    run = Path(config["run"])
    train(TrainConfig.model_validate(config))
    whole, said = tensors(run, tmp_path, 3), facts(run)
    losses = [line["loss"] for line in said if "loss" in line]
    forms = {"masked"} if name.startswith("masked") else {"causal", "prefix"}
    assert len(losses) == 3
    validated = [line["step"] for line in said if line.get("validation", {}).keys() == forms]
    assert validated == [0, 2, 3]
    assert all(np.isfinite([*losses, *said[-1]["validation"].values()]))
    assert len(list((run / "pictures").glob("*.png"))) == (0 if name == "tokens" else 3)
    shutil.rmtree(run / "checkpoints" / "00000003")
    train(TrainConfig.model_validate(config))
    assert facts(run) == said
    assert_bitwise_equal(tensors(run, tmp_path, 3), whole)


def numbers(line: dict) -> dict[str, float]:
    """What a line of the log says was learnt."""
    chosen = {field: line[field] for field in ("step", "loss", "grad_norm") if field in line}
    return chosen | line.get("validation", {})


@pytest.mark.slow
def test_each_is_the_same_on_two_ranks_in_two_parts(run_config, tmp_path, files):
    alone, together = {}, []
    for name in OPTIONS:
        config = with_option(run_config, name, files) | {"threads": 1}
        train(TrainConfig.model_validate(config))
        alone[name] = facts(Path(config["run"]))
        compute = config.get("compute", {}) | {"micro_batches": 2, "recompute": True}
        together.append(config | {"run": str(tmp_path / "two" / name), "compute": compute})
    train_each(together, 2, tmp_path)
    for name in OPTIONS:
        for one, two in zip(alone[name], facts(tmp_path / "two" / name), strict=True):
            assert numbers(two) == pytest.approx(numbers(one), rel=1e-4), name
