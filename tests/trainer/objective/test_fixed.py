import numpy as np
import pytest

from trainer.model.sizes import ModelConfig
from trainer.objective import fixed, prefixes
from trainer.objective.config import ObjectiveConfig
from trainer.objective.objective import Objective

SHAPE = ModelConfig(image_size=12, patch_size=3, embed_dim=16, depth=1, num_heads=2)
K = SHAPE.num_patches
SAMPLES = np.array([4, 7, 30, -1, -1])
REAL = SAMPLES >= 0
KINDS = [{}, {"attention": "causal"}, {"prefixes": "independent"}, {"kind": "masked"}]


def objective(seed=0, **fields):
    return Objective(ObjectiveConfig(**fields), SHAPE, seed)


def asked(chosen, samples=SAMPLES, real=REAL):
    return dict(zip(fixed.forms(chosen), fixed.asked(chosen, samples, real), strict=True))


@pytest.mark.parametrize("fields", KINDS)
def test_no_form_asks_nothing_of_a_real_sample_or_anything_of_padding(fields):
    """A mask for full attention, used to choose targets, chooses none: the official validation."""
    for name, task in asked(objective(**fields)).items():
        images = task.rows[task.weights == 1] // K
        assert set(images.tolist()) == {0, 1, 2}, name


def test_the_causal_form_asks_for_all_patches_but_the_first():
    task = asked(objective())["causal"]
    assert task.prefix.tolist() == [1, 1, 1, K, K]
    wanted = task.wanted[task.weights == 1]
    assert wanted.tolist() == [b * K + i for b in range(3) for i in range(1, K)]


def test_the_prefix_form_draws_as_training_does_but_by_sample():
    task = asked(objective())["prefix"]
    drawn = prefixes.independent(fixed.SEED, 0, SAMPLES[:3], np.zeros(3, np.int64), K)
    assert task.prefix.tolist() == [*drawn, K, K]
    assert int(task.weights.sum()) == sum(K - drawn)


@pytest.mark.parametrize("fields", KINDS)
def test_questions_depend_on_the_sample_alone(fields):
    one, other = asked(objective(**fields)), asked(objective(seed=3, **fields))
    turned = asked(objective(**fields), SAMPLES[::-1], REAL[::-1])
    for name, task in one.items():
        assert task.rows.tolist() == other[name].rows.tolist()
        assert task.prefix.tolist() == turned[name].prefix.tolist()[::-1]
        if task.masked is not None:
            assert task.masked.tolist() == turned[name].masked.tolist()[::-1]
            assert task.masked.sum(dim=1).tolist() == [K // 2, K // 2, K // 2, 0, 0]


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [({}, K // 2), ({"attention": "causal"}, 1), ({"order": "spiral"}, K // 2)],
)
def test_a_picture_asks_for_the_second_half_of_the_order(fields, prefix):
    chosen = objective(**fields)
    task = fixed.pictured(chosen, 2)
    assert task.prefix.tolist() == [prefix] * 2
    assert task.wanted[: K // 2].tolist() == chosen.order[K // 2 :].tolist()
    assert task.rows[: K // 2].tolist() == list(range(K // 2 - 1, K - 1))
