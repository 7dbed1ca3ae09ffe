"""What runs say of themselves: docs/metrics.md promises the fields."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.trainer.runs import MODEL, start, train
from trainer import metrics
from trainer.flops import image_flops
from trainer.model.sizes import ModelConfig

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def config(run_config) -> dict:
    """A run of a second or two, validated at its ends."""
    return run_config | {"steps": 6, "validate_every": 1000, "checkpoint_every": 1000}


def test_a_run_logs_the_fields_that_the_docs_promise(config):
    lines = metrics.read(train(config) / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 3, 6, 6]
    told = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert {name for line in lines for name in line} == told - {"mfu", "slow"}  # of a CPU, alone
    flops = image_flops(ModelConfig(**MODEL), rows=8).training
    for line in lines[1:3]:
        assert line["tflops"] == pytest.approx(line["images_per_second"] * flops / 1e12, rel=1e-2)
    assert lines[2]["eta_seconds"] == 0


def test_a_run_tells_its_watcher_a_line_for_each_of_the_log(config):
    process = start(config)
    out, _ = process.communicate(timeout=120)
    heads = [line.partition("  ")[0] for line in out.splitlines()]
    assert heads == ["step 0/6", "step 3/6", "step 6/6", "step 6/6"]


def test_a_run_that_begins_again_before_its_first_checkpoint_is_validated_once(config):
    run = Path(config["run"])
    run.mkdir()
    stale = [{"step": 0, "validation": {"causal": 9.0}}, {"step": 3, "loss": 9.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stale))
    train(config)
    lines = metrics.read(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 3, 6, 6]
    assert lines[0]["validation"]["causal"] < 9


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="it is installed")
def test_tensorboard_without_its_package_is_refused_before_any_work(config):
    process = start(config | {"tensorboard": True})
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "pip install 'headrace[tensorboard]'" in err
    assert not Path(config["run"]).exists()


def test_tensorboard_has_every_line(config):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(config | {"tensorboard": True})
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [3, 6]
    assert [event.step for event in events.Scalars("validation/causal")] == [0, 6]
