"""A head as a file of its own."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.format.errors import HeadraceError
from tests.trainer.probing.plain import PLAIN
from tests.trainer.probing.runs import here, weights
from trainer.probing.export import write_head


@pytest.mark.parametrize("kind", ["attentive", "linear"])
def test_a_head_is_written_under_the_releases_names(probe_config, tmp_path, kind):
    config = probe_config | {"steps": 2}
    here(config)
    name = f"{kind}/lr=0.01,wd=0.05"
    for out in ("head.safetensors", "again.safetensors"):
        write_head(config["run"], name, str(tmp_path / out))
    file = tmp_path / "head.safetensors"
    assert file.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    tensors = {key.removeprefix("head."): value for key, value in load_file(file).items()}
    head = PLAIN[kind](32, 2, 8)
    head.load_state_dict(tensors)
    assert head.bn.num_batches_tracked == 2
    number = 2 if kind == "attentive" else 6
    saved = weights(config, 2)[f"/model/heads.{number}.linear.weight"]
    assert torch.equal(head.linear.weight, saved)
    with safe_open(file, framework="pt") as opened:
        assert '"lr": 0.01' in opened.metadata()["headrace"]


def test_a_head_that_was_not_trained_is_refused_with_those_that_were(probe_config, tmp_path):
    here(probe_config, steps=1)
    with pytest.raises(HeadraceError, match="has no head attentive; it has attentive/lr="):
        write_head(probe_config["run"], "attentive", str(tmp_path / "head.safetensors"))
    assert not Path(tmp_path / "head.safetensors").exists()
