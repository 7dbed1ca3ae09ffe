"""One update: the same gradient however a batch is cut, and none that is not finite."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer.objective import dense
from tests.trainer.poisoned import IMAGE
from tests.trainer.runs import assert_bitwise_equal, facts, named, tensors, train, train_each
from trainer import metrics, skipping
from trainer.config import TrainConfig
from trainer.model.aim import AIM
from trainer.objective import prefixes
from trainer.pixels import normalise
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

TOLERANCE = 2e-6
"""Of a gradient's largest value: float32 sums in another order."""


def gradient(run: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """Of the first step: its first moments, but for a factor that all of them share."""
    flat = tensors(run, tmp_path, 1)
    found = {name: value for name, value in flat.items() if name.endswith("exp_avg")}
    assert len(found) > 20
    return found


def assert_alike(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        scale = left[name].abs().max().item()
        assert torch.allclose(left[name], right[name], rtol=0, atol=TOLERANCE * scale), name


@pytest.fixture
def one_step(run_config) -> dict:
    return run_config | {"validation": None, "steps": 1}


CUTS = {
    "two-ranks": (2, {}),
    "parts": (1, {"micro_batches": 2}),
    "recomputed": (1, {"recompute": True}),
}
MORE_CUTS = {
    "another-kernel": (1, {"attention": "causal_overwrite"}),
    "four-ranks": (4, {}),
    "two-copies": (4, {"shard_over": 2}),
    "two-copies-in-parts": (4, {"shard_over": 2, "micro_batches": 2}),
    "four-copies": (4, {"shard_over": 1}),
    "two-ranks-in-parts-recomputed": (2, {"micro_batches": 2, "recompute": True}),
}


def test_a_step_is_of_the_dense_reference_of_the_paper(one_step):
    """Its loss and its gradient, before anything was learnt."""
    config = TrainConfig.model_validate(one_step)
    with Stream(config.mixture, config.stream) as stream:
        batch = next(iter(stream))
    model = AIM(config.shape).double()
    model.init_weights(torch.Generator().manual_seed(config.seed))
    images = normalise(batch.images, torch.device("cpu")).double()
    lanes, slots, K = batch.lanes.numpy(), batch.slots.numpy(), config.shape.num_patches
    prefix = torch.from_numpy(prefixes.paired(config.seed, 0, lanes, slots, K))
    targets = dense.normalised(images, config.shape.patch_size)
    loss = dense.next_patch_loss(model(images, prefix), targets, prefix)
    loss.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    line = facts(train(one_step))[0]
    assert line["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert line["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)


def check_cuts(config: dict, tmp_path: Path, cuts: dict[str, tuple[int, dict]]) -> None:
    whole = train(named(config, "whole"))
    ways = {name: named(config, name, compute=compute) for name, (_, compute) in cuts.items()}
    for ranks in {ranks for ranks, _ in cuts.values()}:
        train_each((ways[name] for name, way in cuts.items() if way[0] == ranks), ranks, tmp_path)
    for name in ways:
        cut = Path(ways[name]["run"])
        assert_alike(gradient(whole, tmp_path), gradient(cut, tmp_path))
        for field in ("loss", "grad_norm"):  # of the moments a clip would hide a common factor
            assert facts(cut)[0][field] == pytest.approx(facts(whole)[0][field], rel=1e-6)
        assert facts(cut)[0]["digest"] == facts(whole)[0]["digest"]


def test_ranks_micro_batches_and_recomputation_leave_the_gradient_as_it_is(one_step, tmp_path):
    check_cuts(one_step, tmp_path, CUTS)


@pytest.mark.slow
def test_sharded_copies_give_the_gradient_of_one_process(one_step, tmp_path):
    check_cuts(one_step, tmp_path, MORE_CUTS)


@pytest.mark.slow
def test_prefixes_that_score_uneven_shares_are_weighed_by_their_count(one_step, tmp_path):
    uneven = one_step | {"objective": {"prefixes": "independent"}}
    check_cuts(uneven, tmp_path, {"two-ranks": (2, {}), "parts": (1, {"micro_batches": 4})})


def test_recomputation_changes_no_bit(one_step, tmp_path):
    plain = train(named(one_step, "plain", steps=3))
    again = train(named(one_step, "again", steps=3, compute={"recompute": True}))
    assert_bitwise_equal(tensors(plain, tmp_path, 3), tensors(again, tmp_path, 3))


def test_bfloat16_learns_nearly_the_same(run_config):
    half = run_config | {"compute": {"precision": "bfloat16"}}
    runs = [train(named(run_config, "whole")), train(named(half, "half"))]
    last = [facts(run)[-1]["validation"]["causal"] for run in runs]
    assert last[0] != last[1]
    assert last[0] == pytest.approx(last[1], rel=0.02)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_all_that_a_run_on_gpus_does_at_once_learns_nearly_the_same(run_config):
    few = run_config | {"steps": 3, "log_every": 1}
    at_once = {"precision": "bfloat16", "compile": True, "recompute": True, "micro_batches": 2}
    plain, all_of_it = train(named(few, "plain")), train(named(few, "all", compute=at_once), 2)
    for one, other in zip(facts(plain), facts(all_of_it), strict=True):
        assert one.get("digest") == other.get("digest")
        for learnt in ("loss", "grad_norm"):
            assert one.get(learnt, 0) == pytest.approx(other.get(learnt, 0), rel=0.005)
        assert one.get("validation", {}) == pytest.approx(other.get("validation", {}), rel=0.005)


# Steps that are not finite


def poisoned(
    config: dict, rank: int, steps: list[int], ranks: int = 1, pixel: str = "nan"
) -> tuple[int, str]:
    path = Path(config["mixture"]).with_name("poisoned.json")
    path.write_text(json.dumps(config))
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    script = Path(__file__).with_name("poisoned.py")
    command = [*launch, script, path, pixel, *map(str, (rank, *steps))]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, done.stderr


def sample_of(config: dict, rank: int, ranks: int, step: int) -> dict:
    """The sample that was poisoned."""
    chosen = StreamConfig.model_validate(config["stream"])
    with Stream(config["mixture"], chosen, rank, ranks) as stream:
        batch = next(itertools.islice(stream, step, None))
        source = stream.names[batch.sources[IMAGE]]
        return {"source": source, "sample": int(batch.samples[IMAGE]), "key": batch.keys[IMAGE]}


RAW = {"target": {"kind": "pixels"}}
HUGE = "1e21"
"""Its square is infinite in float32, and the gradient of its square is not."""


@pytest.mark.parametrize(
    ("ranks", "pixel", "changes"),
    [
        (1, "nan", {}),
        (2, "nan", {"compute": {"micro_batches": 2}}),
        (1, HUGE, {"objective": RAW}),
        pytest.param(2, HUGE, {"objective": RAW}, marks=pytest.mark.slow),
    ],
)
def test_a_step_that_is_not_finite_is_skipped_on_all_ranks_and_its_sample_named(
    run_config, tmp_path, ranks, pixel, changes
):
    config = run_config | {"validation": None, "checkpoint_every": 1, "keep_checkpoints": 9}
    config |= {"steps": 6, "log_every": 1} | changes
    code, err = poisoned(config, ranks - 1, [3], ranks, pixel)
    assert code == 0, err
    run = Path(config["run"])
    before, after = tensors(run, tmp_path, 3), tensors(run, tmp_path, 4)
    assert_bitwise_equal(before, after)
    assert not all(torch.equal(after[n], v) for n, v in tensors(run, tmp_path, 5).items())
    assert [line["skipped"] for line in facts(run)] == [0, 0, 0, 1, 1, 1]
    assert [line["loss"] is None for line in facts(run)] == [False] * 3 + [True] + [False] * 2
    (line,) = metrics.read(run / skipping.NAME)
    assert line["step"] == 4
    assert line["samples"] == [sample_of(config, ranks - 1, ranks, 3)]


def test_too_many_in_a_row_end_the_run_and_say_where_to_look(run_config):
    config = run_config | {"validation": None, "max_skipped": 3}
    code, err = poisoned(config, 0, list(range(4, 20)))
    assert code == 1
    assert "Traceback" not in err
    assert "not finite in 3 steps in a row, the last one 7" in err
    assert "nonfinite.jsonl" in err
    assert [line["step"] for line in metrics.read(Path(config["run"]) / skipping.NAME)] == [5, 6, 7]
