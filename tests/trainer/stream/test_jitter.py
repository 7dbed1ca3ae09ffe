"""Colour jitter: torchvision's pixels, the key's draws, whatever batch an image is in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from pipeline.format.images import decode
from trainer.stream.augment import JitterConfig, evaluation_view
from trainer.stream.config import StreamConfig
from trainer.stream.jitter import STEPS, brightness, contrast, hue, jitter, jittered, saturation
from trainer.stream.keyed import uniforms
from trainer.stream.stream import Stream

CONFIG = JitterConfig()
TORCHVISION = {
    brightness: functional.adjust_brightness,
    contrast: functional.adjust_contrast,
    saturation: functional.adjust_saturation,
    hue: functional.adjust_hue,
}


@pytest.fixture(scope="module")
def images(pictures):
    """Real pictures, noise, and every grey: uint8 (n, 3, 64, 64)."""
    views = [evaluation_view(decode(picture.image), 64) for picture in pictures[:16]]
    real = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
    noise = torch.randint(
        0, 256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    greys = torch.arange(256, dtype=torch.uint8).repeat(16).reshape(1, 1, 64, 64)
    return torch.cat([real, noise, greys.repeat(1, 3, 1, 1)])


def distance(left, right):
    return int((left.int() - right.int()).abs().max())


@pytest.mark.parametrize("step", TORCHVISION, ids=lambda step: step.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_each_step_is_torchvisions_within_one_step_of_a_byte(images, step, seed):
    drawn = uniforms(np.array([seed], np.uint64), len(images))[0]
    factors = drawn - 0.5 if step is hue else 2 * drawn
    found = step(images, torch.from_numpy(factors))
    assert found.dtype == torch.uint8
    assert distance(found, images) > 50
    for image, factor, mine in zip(images, factors.tolist(), found, strict=True):
        assert distance(mine, TORCHVISION[step](image, factor)) <= 1


def draws_of(images):
    return uniforms(np.arange(len(images), dtype=np.uint64), 9)


def test_an_image_gets_its_four_steps_in_its_own_order(images):
    draws = draws_of(images)
    found = jitter(images, draws, replace_config(probability=1))
    orders = draws[:, 5:].argsort(axis=1)
    assert len({tuple(order) for order in orders.tolist()}) > 10
    ranges = [(1, 0.4), (1, 0.4), (1, 0.2), (0, 0.1)]
    for row, image in enumerate(images):
        alone = image[None]
        for number in orders[row]:
            middle, spread = ranges[number]
            factor = middle + spread * (2 * draws[row, 1 + number] - 1)
            alone = list(STEPS.values())[number](alone, torch.tensor([factor], dtype=torch.float64))
        assert torch.equal(found[row], alone[0])


def replace_config(**fields):
    return CONFIG.model_copy(update=fields)


def test_the_bits_of_an_image_do_not_depend_on_the_batch_around_it(images):
    draws = draws_of(images)
    whole = jitter(images, draws, CONFIG)
    for rows in ([0], [5, 2], [*range(9, 20)], [22, 1, 7]):
        assert torch.equal(jitter(images[rows], draws[rows], CONFIG), whole[rows])
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(jitter(last, draws, CONFIG), whole)


def test_the_stated_share_of_the_images_is_changed_and_the_others_not_at_all(images):
    many = images[:1].repeat(500, 1, 1, 1)
    draws = uniforms(np.arange(500, dtype=np.uint64), 9)
    changed = (jitter(many, draws, CONFIG) != many).flatten(1).any(dim=1).numpy()
    assert np.array_equal(changed, draws[:, 0] < 0.8)
    assert torch.equal(jitter(many, draws, replace_config(probability=0)), many)


@pytest.mark.parametrize("field", STEPS)
def test_a_range_of_nothing_leaves_its_step_out(images, field):
    only = replace_config(**{name: 0 for name in STEPS if name != field}, probability=1)
    draws = draws_of(images)
    assert not torch.equal(jitter(images, draws, only), images)
    assert torch.equal(jitter(images, draws, only.model_copy(update={field: 0})), images)


def test_the_images_that_were_given_stay_as_they_are(images):
    before = images.clone()
    jitter(images, draws_of(images), CONFIG)
    assert torch.equal(images, before)


@pytest.fixture(scope="module")
def batches(mixture):
    """Three steps of a stream: by one rank, and by two."""
    config = StreamConfig(batch=12, lanes=6, image_size=8)
    worlds = []
    for ranks in (1, 2):
        shares = []
        for rank in range(ranks):
            with Stream(mixture, config, rank, ranks) as stream:
                shares.append([batch for _, batch in zip(range(3), stream, strict=False)])
        worlds.append(shares)
    return worlds


def test_a_sample_is_jittered_alike_on_any_rank_and_by_its_seed(batches):
    (whole,), halves = batches
    names = ["web", "trusted"]
    for step, batch in enumerate(whole):
        found = jittered(batch, names, 0, CONFIG)
        parts = [jittered(half[step], names, 0, CONFIG) for half in halves]
        assert torch.equal(found, torch.cat(parts))
        assert not torch.equal(found, batch.images)
        assert not torch.equal(found, jittered(batch, names, 1, CONFIG))
        later = replace(batch, epochs=batch.epochs + 1)
        assert not torch.equal(found, jittered(later, names, 0, CONFIG))


def test_it_is_off_by_default(batches):
    batch = batches[0][0][0]
    off = StreamConfig(batch=12, lanes=6, image_size=8).augment.jitter
    assert off is None
    assert jittered(batch, ["web", "trusted"], 0, off) is batch.images
