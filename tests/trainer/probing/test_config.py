"""What a probe's config refuses before anything is opened, and what it stands for."""

import pytest
from pydantic import ValidationError

from trainer.probing.cells import Cell, GridConfig, cells, name
from trainer.probing.config import ProbeConfig

FIELDS = {
    "run": "/runs/probe",
    "weights": "/runs/aim",
    "train": "/sets/train",
    "test": "/sets/test",
    "classes": ["cat", "dog"],
    "stream": {"batch": 16, "lanes": 4, "image_size": 32},
    "steps": 10,
}


def config(**changes) -> ProbeConfig:
    return ProbeConfig.model_validate(FIELDS | changes)


def test_the_defaults_are_aimv2s_recipe():
    made = config()
    assert len(made.grid.lr) * len(made.grid.weight_decay) == 14
    optimiser, augment = made.optimiser, made.stream.augment
    assert (optimiser.betas, optimiser.clip, optimiser.final_lr) == ((0.9, 0.999), 3.0, 1e-5)
    assert (augment.min_scale, augment.flip, augment.jitter.hue) == (0.08, True, 0)
    changed = config(stream=FIELDS["stream"] | {"augment": {"flip": False}})
    assert changed.stream.augment.min_scale == 0.08


def test_cells_have_the_names_that_the_results_use():
    grid = GridConfig(lr=(1e-3, 5e-5), weight_decay=(0.1,))
    made = cells(("attentive", "linear"), grid, [(0, 1), (1, 2)])
    assert len(made) == 8
    assert name(made[0], 1) == "attentive/lr=0.001,wd=0.1"
    assert name(Cell("linear", 5e-5, 0.1, (1, 2)), 2) == "linear/lr=5e-05,wd=0.1,layers=1-2"


def test_a_search_is_a_run_of_its_own_with_the_middle_of_the_grid():
    assert config().searching() is None
    made = config(layers="search", checkpoints="s3://b/probe")
    search = made.searching()
    assert (search.run, search.checkpoints) == ("/runs/probe/search", "s3://b/probe/search")
    assert (search.grid.lr, search.grid.weight_decay) == ((3e-4,), (0.05,))
    found = made.found((2, 3))
    assert (found.layers, found.run, found.grid) == ((2, 3), made.run, made.grid)
    assert ProbeConfig.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["cat", "cat"]}, "classes.*'cat' is named twice"),
        ({"grid": {"lr": [1e-3, 0.001]}}, "grid.lr.*0.001 is named twice"),
        ({"layers": [2, 1]}, "not in ascending order"),
        ({"kinds": ["linear", "linear"]}, "kinds.*'linear' is named twice"),
        ({"optimiser": {"lr": 0.1}}, r"optimiser.lr: leave it out; grid.lr has"),
        ({"compute": {"recompute": True}}, "compute.recompute: means nothing to a frozen trunk"),
        ({"wieghts": "x"}, "wieghts"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes, words):
    with pytest.raises(ValidationError, match=f"(?s){words}"):
        config(**changes)


def test_paths_are_no_part_of_what_the_weights_depend_on():
    assert config().identity == config(weights="/elsewhere", test="/other").identity
    for changes in ({"classes": ["dog", "cat"]}, {"grid": {"lr": [0.1]}}, {"hold_out": 0.1}):
        assert config().identity != config(**changes).identity
