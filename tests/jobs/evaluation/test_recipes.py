"""The recipes of evaluations are good configs, and have the counts of the paper's."""

from pathlib import Path

import pytest
import yaml

from jobs.config import load
from jobs.evaluation import loading
from jobs.evaluation.knn import KnnConfig
from jobs.evaluation.loss import LossConfig

RECIPES = Path(__file__).parents[3] / "jobs" / "recipes"
IMAGENET = 1_281_167
BATCHES = {"probe": 1024, "lora": 1024}


@pytest.mark.parametrize("kind", BATCHES)
def test_a_training_has_the_papers_batch_epochs_and_warm_up(kind):
    fields = yaml.safe_load((RECIPES / f"eval-{kind}.yaml").read_text())
    asked = loading.load(fields | {"weights": str(RECIPES)}, kind)  # where there is something
    assert asked.draft.stream.batch == BATCHES[kind]
    assert asked.draft.optimiser.betas == (0.9, 0.999)
    assert asked.draft.optimiser.clip == 3.0
    assert asked.draft.optimiser.warmup_fraction * asked.sets.epochs == pytest.approx(5)
    assert loading.steps_of(asked, IMAGENET) == round(100 * IMAGENET / 1024)


@pytest.mark.parametrize(("name", "model"), [("knn", KnnConfig), ("loss", LossConfig)])
def test_the_others_are_good_configs(name, model):
    load(str(RECIPES / f"eval-{name}.yaml"), model)
