"""RandAugment: timm's operations at timm's levels, the key's draws, whoever else draws what."""

import itertools
import random

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from timm.data.auto_augment import AugmentOp, rand_augment_choices

from pipeline.format.images import decode
from trainer.stream.augment import AugmentConfig, RandConfig, evaluation_view
from trainer.stream.config import StreamConfig
from trainer.stream.keyed import base_key, mix, uniforms
from trainer.stream.randaugment import APPLIED, OPERATIONS, operate, rand_augment, rand_draws
from trainer.stream.stream import Stream

CONFIG = RandConfig()
STREAM = StreamConfig(batch=12, lanes=6, image_size=32)
WITH = STREAM.model_copy(update={"augment": AugmentConfig(rand=CONFIG)})
STEPS = 3
SEEDS = {True: 0, False: 1}
"""Seeds of Python's generator: after the first, timm negates a level; after the second it does not
(`random() > 0.5`)."""

TIMMS = {"img_mean": (124, 116, 104), "interpolation": Image.Resampling.BICUBIC}
"""What timm's `create_transform` tells RandAugment for bicubic crops and ImageNet's mean."""


@pytest.fixture(scope="module")
def image(pictures):
    return Image.fromarray(evaluation_view(decode(pictures[0].image), 48))


@pytest.fixture
def _generators_stay():
    before = random.getstate()
    yield
    random.setstate(before)


@pytest.mark.usefixtures("_generators_stay")
@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("place", range(len(OPERATIONS)), ids=OPERATIONS)
def test_every_operation_is_timms_at_every_level_and_either_way(image, place, increasing):
    timms = rand_augment_choices("", increasing)[place]
    assert timms.removesuffix("Increasing") == OPERATIONS[place]
    for magnitude, negative in itertools.product((0, 1, 3.3, 5, 9, 9.37, 10), SEEDS):
        random.seed(SEEDS[negative])
        expected = AugmentOp(timms, prob=1, magnitude=magnitude, hparams=TIMMS)(image)
        found = operate(image, OPERATIONS[place], magnitude / 10, negative, increasing)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_there_are_as_many_operations_as_timm_has():
    assert len(OPERATIONS) == len(rand_augment_choices("", increasing=True)) == 15


def test_the_defaults_are_the_recipe_of_the_paper():
    assert RandConfig(magnitude=9, spread=0.5, count=2, increasing=True) == CONFIG
    assert AugmentConfig().rand is None


def one(which=0.0, whether=0.0, strength=0.5, way=0.0):
    return np.array([[which, whether, strength, way]])


def place_of(name):
    return (OPERATIONS.index(name) + 0.5) / len(OPERATIONS)


def test_the_middle_draw_is_the_magnitude_and_the_others_are_spread_normally_around_it(image):
    pixels = np.asarray(image)
    for deviations, magnitude in ((0, 5), (1, 5.5), (-2, 4)):
        strength = {0: 0.5, 1: 0.8413447460685429, -2: 0.02275013194817921}[deviations]
        drawn = one(place_of("Solarize"), strength=strength + 1e-9)
        found = rand_augment(pixels, drawn, RandConfig(magnitude=5, increasing=False))
        expected = operate(image, "Solarize", magnitude / 10 + 1e-9, False, False)
        np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("strength", [0.0, 1 - 2**-53])
def test_the_most_extreme_draws_stay_within_the_scale(image, strength):
    wild, name = RandConfig(magnitude=5, spread=100), "ShearX"
    found = rand_augment(np.asarray(image), one(place_of(name), strength=strength, way=0.7), wild)
    expected = operate(image, name, round(strength), negative=False, increasing=True)
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_an_operation_is_applied_to_half_of_the_images_that_draw_it(image):
    pixels = np.asarray(image)
    invert = place_of("Invert")
    assert (rand_augment(pixels, one(invert, whether=0.499), CONFIG) == 255 - pixels).all()
    assert (rand_augment(pixels, one(invert, whether=0.5), CONFIG) == pixels).all()
    assert APPLIED == 0.5


def test_the_operations_come_one_after_the_other_as_they_were_drawn(image):
    first, then = place_of("Rotate"), place_of("Solarize")
    draws = np.concatenate([one(first), one(then)])
    rotated = operate(image, "Rotate", 0.9, negative=True, increasing=True)
    expected = operate(rotated, "Solarize", 0.9, negative=True, increasing=True)
    found = rand_augment(np.asarray(image), draws, CONFIG)
    np.testing.assert_array_equal(found, np.asarray(expected))
    assert found.dtype == np.uint8
    assert (found != rand_augment(np.asarray(image), draws[::-1], CONFIG)).any()


def test_draws_differ_between_seeds_sources_epochs_samples_and_from_those_of_the_crops():
    def draws(name="web", epoch=0, sample=4, seed=0):
        return rand_draws(name, epoch, sample, seed, 2)

    assert draws().shape == (2, 4)
    assert (draws() == draws()).all()
    for other in ({"name": "in1k"}, {"epoch": 1}, {"sample": 5}, {"seed": 1}):
        assert (draws(**other) != draws()).all(), other
    crops = uniforms(mix(base_key(0, "augment", "web"), 0, 4), 41)
    assert not np.isin(draws(), crops).any()


def test_every_operation_is_drawn_about_as_often():
    drawn = [rand_draws("web", 0, sample, 0, 2)[:, 0] for sample in range(3000)]
    counts = np.bincount((np.array(drawn).ravel() * 15).astype(int), minlength=15)
    assert counts.min() > 330
    assert counts.max() < 470


@pytest.fixture(scope="module")
def delivered(mixture):
    """The first batches of streams over one mixture, by their config."""

    def make(config, rank=0, ranks=1):
        with Stream(mixture, config, rank, ranks) as stream:
            return list(itertools.islice(stream, STEPS))

    return make


def test_a_batch_is_the_plain_batch_with_the_draws_of_each_slot_and_else_unchanged(delivered):
    changed = 0
    for batch, plain in zip(delivered(WITH), delivered(STREAM), strict=True):
        assert batch.keys == plain.keys
        assert batch.digest == plain.digest
        places = (plain.sources.tolist(), plain.epochs.tolist(), plain.samples.tolist())
        rows = zip(*places, plain.images, batch.images, strict=True)
        for source, epoch, sample, before, found in rows:
            draws = rand_draws(["web", "trusted"][source], epoch, sample, STREAM.seed, 2)
            pixels = before.permute(1, 2, 0).numpy()
            expected = torch.from_numpy(rand_augment(pixels, draws, CONFIG)).permute(2, 0, 1)
            assert torch.equal(found, expected)
            changed += not torch.equal(found, before)
    assert 0.5 < changed / (STEPS * 12) < 0.9  # of two, each at a half, and some change nothing


def test_any_number_of_threads_and_ranks_gives_the_same_pixels(delivered):
    whole = [batch.images for batch in delivered(WITH)]
    threaded = WITH.model_copy(update={"threads": 7, "read_ahead": 2})
    halves = [delivered(threaded, rank, 2) for rank in range(2)]
    for images, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(images, torch.cat([part.images for part in parts]))


def test_nothing_is_drawn_from_a_generator_that_others_share(delivered):
    before = random.getstate(), np.random.get_state()[1].tolist()
    delivered(WITH)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_a_stream_without_it_has_the_identity_that_it_had_before_there_was_one(mixture):
    with Stream(mixture, STREAM) as stream:
        assert "rand" not in stream.identity["augment"]
        plain = stream.state_dict()
    with Stream(mixture, WITH) as stream, pytest.raises(Exception, match=r"augment\.rand was abse"):
        stream.load_state_dict(plain)


@pytest.mark.parametrize(
    ("field", "value"), [("magnitude", 11), ("spread", -1), ("count", 0), ("std", 0.5)]
)
def test_a_config_out_of_range_is_refused_by_the_fields_name(field, value):
    with pytest.raises(ValidationError, match=rf"rand\.{field}"):
        AugmentConfig(rand={field: value})
