"""What the config of a sweep refuses."""

from pathlib import Path

import pytest
import yaml

from jobs.config import load
from jobs.evaluation import loading
from jobs.sweep.config import SweepConfig
from jobs.sweep.plan import planned
from jobs.sweep.rows import ABLATIONS
from pipeline.format.errors import HeadraceError
from trainer.model.sizes import SIZES

RECIPES = Path(__file__).parents[3] / "jobs" / "recipes"
FIELDS = {
    "sweep": "sweep",
    "sources": {"target": "target"},
    "train": {
        "model": "aim-demo",
        "stream": {"batch": 16, "lanes": 4, "image_size": 64},
        "steps": 10,
    },
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": []}, "seeds: Tuple should have at least 1 item"),
        ({"seeds": [1, 1]}, "seeds: .* a seed stands twice"),
        ({"train_on": "mix"}, "train_on: mix needs sources.web"),
        ({"probe": {"weights": "w"}}, "probe: weights is what the sweep gives"),
        ({"validation": {"a/b": "x"}}, "validation: 'a/b': a set's name has letters"),
        ({"train": FIELDS["train"] | {"run": "x"}}, "train: run is what the sweep gives"),
        ({"train": FIELDS["train"] | {"seed": 1}}, "train: seed is what the sweep gives"),
        (
            {"train": FIELDS["train"] | {"step": 1}},
            r"train.step: unknown name; did you mean 'steps'",
        ),
        (
            {"train": FIELDS["train"] | {"stream": {"batch": 16, "lanes": 5, "image_size": 64}}},
            "train.stream: batch 16 is not a multiple of lanes 5",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(tmp_path, changes, said):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(FIELDS | changes))
    with pytest.raises(HeadraceError, match=said):
        load(str(path), SweepConfig)


def test_threads_are_the_cpus_of_a_task_unless_the_training_says(tmp_path):
    def threads(**changes) -> int:
        return SweepConfig.model_validate(FIELDS | changes).threads

    assert threads() == 1
    assert threads(resources={"cpus": 4}) == 4
    assert threads(resources={"cpus": 0.5}) == 1
    assert threads(train=FIELDS["train"] | {"threads": 3}, resources={"cpus": 4}) == 3


def test_the_recipe_has_the_papers_base_for_every_ablation():
    found = load(str(RECIPES / "sweep-imagenet.yaml"), SweepConfig)
    assert found.train.shape == SIZES["aim-600m"]
    assert found.train.stream.batch == 4096
    assert (found.train_on, found.sources.web_share) == ("target", 0.8)
    rows = [row for name in ABLATIONS for row in planned(name, found, {})]
    assert sum(bool(row.row.missing) for row in rows) == 1  # tokens
    (probe,) = rows[0].units[0].probes
    loading.load(probe.fields | {"weights": __file__}, "probe")
