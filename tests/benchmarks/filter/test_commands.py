"""The benchmarks of the filter run, at the least sizes, and their tables say what was measured."""

import argparse
import subprocess
import sys
from collections import Counter

import pytest
import torch
from open_clip.transformer import VisionTransformer
from torch.nn.modules.module import register_module_forward_hook

from pipeline.assess.intervals import Interval
from pipeline.assess.noise import CLEAN, SHUFFLED
from pipeline.clip.opening import new_model
from tests.benchmarks.filter import caution, judging, models, one, pictures, training
from tests.benchmarks.filter.caution import Recipe
from tests.benchmarks.filter.judging import Judged
from tests.benchmarks.filter.rows import Row
from tests.benchmarks.filter.table import table
from tests.benchmarks.filter.ways import WAYS

BATCH, TARS, IMAGES = 4, 2, 16


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("work")
    tars, images = pictures.repack(pictures.DEMO, folder, TARS, BATCH, IMAGES + 3)
    return {"model": models.write(models.DEMO, folder / "model"), "tars": tars, "images": images}


def given(work: dict, way: str, **more) -> argparse.Namespace:
    least = {"way": way, "batch": BATCH, "processes": 1, "threads": 1, "workers": 0}
    least |= {"device": "cpu", "precision": "float32", "decoders": 1, "images_alone": False}
    return argparse.Namespace(**least | work | more)


@pytest.fixture
def embedded():
    """Images and captions that went through any model."""
    seen: Counter[str] = Counter()

    def count(module, inputs, output):
        kinds = {VisionTransformer: "images", torch.nn.Embedding: "captions"}
        if type(module) in kinds:
            seen[kinds[type(module)]] += len(inputs[0])

    hook = register_module_forward_hook(count)
    yield seen
    hook.remove()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("way", ["ours", "open_clip", "bare"])
def test_all_embed_each_picture_once_and_captions_only_where_the_row_says_so(
    work, embedded, way, alone
):
    pass_over = WAYS[way](given(work, way, images_alone=alone))
    embedded.clear()
    pass_over(work["tars"])
    assert embedded == {"images": IMAGES} | ({} if alone else {"captions": IMAGES})


def test_processes_share_the_tars(work):
    assert one.together(given(work, "decoding", processes=2)) > 0


def test_a_process_that_fails_gives_no_figure(work):
    with pytest.raises(SystemExit, match="ended with 1"):
        one.together(given(work, "decoding", model="local-dir:/nowhere"))


def test_the_table_holds_rows_against_the_bare_model_the_floor_and_ours():
    rows = {
        Row("bare", "bare"): [100.0, 200.0, 100.0],
        Row("ours", "ours"): [80.0, 80.0, 90.0],
        Row("theirs", "open_clip", readers=4): [40.0, 80.0, 30.0],
        Row("decoding", "decoding"): [400.0, 200.0, 900.0],
    }
    *_, ours, theirs, decoding = table(rows, "cpu")
    start = "| ours | 1 x 1 |  | 80.0 | 80.0 to 90.0 | 80% | 40% to 90% | 100% | 1.00 |"
    assert ours.startswith(start)
    assert theirs.endswith("| 40% | 30% to 40% | 50% | 2.00 | 1.00 to 3.00 |")
    assert decoding.endswith("|  |  |  |  |  |")
    assert [line.split("|")[8].strip() for line in table(rows, "cuda")][3:5] == [
        "80%",
        "40%",
    ]


def test_the_truth_has_the_pools_clean_and_wrong_captions_and_no_other_fault():
    kinds = [kind for (tar, _), kind in judging.truth().items() if tar >= "00000003.tar"]
    assert Counter(kinds) == {CLEAN: 346, SHUFFLED: 147}


def test_orders_are_compared_where_there_are_three():
    def judged(own: float, filtering: float) -> Judged:
        return Judged(*(Interval(value, 0, 1) for value in (own, own, filtering, filtering, 0.5)))

    raw = {(Recipe(raw=r), 0): judged(0.9 - r / 1000, 0.9 - r / 100) for r in (0, 10, 30)}
    lines = list(caution.agreement(raw | {(Recipe(20), 0): judged(0.1, 1.0)}))
    assert [line for line in lines if "without" in line] == []
    assert all("| 3 |" in line and "| 1.00 |" in line for line in lines if "by raw" in line)
    assert all("| 4 |" in line and "| -0.20 |" in line for line in lines if "all" in line)


def test_both_steps_make_the_same_gradients():
    least = argparse.Namespace(model=models.DEMO, batch=4)
    config = training.config_of(models.architecture(models.DEMO), 64, least)
    batch, (run, _) = training.batch_of(config), training.run_of(config)
    opened = new_model(models.architecture(models.DEMO), config.seed, "model")
    training.theirs(opened, [training.tensors(opened, batch)], least)()
    run.learner.backward(batch)
    theirs = {f"clip.{name}": p.grad for name, p in opened.clip.named_parameters()}
    ours = {name: p.grad for name, p in run.learner.model.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name].reshape(gradient.shape), gradient, atol=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "last"), [("scoring", "decoding"), ("training", "in the step"), ("caution", "30%")]
)
def test_the_commands_run(name, last):
    command = [sys.executable, "-m", f"tests.benchmarks.filter.{name}", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("|") and last in line for line in done.stdout.splitlines())
    assert "exit code" not in done.stdout
