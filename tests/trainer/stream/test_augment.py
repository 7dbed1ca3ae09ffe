import numpy as np
import pytest
from PIL import Image, ImageFilter
from pydantic import ValidationError
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from trainer.stream.augment import (
    TRIES,
    AugmentConfig,
    JitterConfig,
    crop_draws,
    evaluation_view,
    random_box,
)
from trainer.stream.augment import augment as augment_by
from trainer.stream.keyed import base_key, mix, uniforms
from trainer.stream.plan import PlannedSource, StreamPlan

CONFIG = AugmentConfig()
SIZES = [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (3, 7), (64, 64), (640, 480), (97, 1000)]


def noise(width, height):
    """A picture without two equal parts."""
    values = uniforms(mix(0, np.arange(height)), width * 3) * 256
    return Image.fromarray(values.astype(np.uint8).reshape(height, width, 3))


def augment(image, size, key, config):
    """The crop of one key."""
    return augment_by(image, size, uniforms(key, 1 + 4 * TRIES)[0], config)


def boxes(width, height, count=300, config=CONFIG):
    draws = uniforms(mix(1, np.arange(count)), 4 * TRIES)
    return [random_box(width, height, row, config) for row in draws]


def test_the_same_key_gives_the_same_pixels_and_another_key_others():
    image = noise(60, 40)
    one = augment(image, 16, 5, CONFIG)
    assert one.shape == (16, 16, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, augment(image.copy(), 16, 5, CONFIG))
    assert (one != augment(image, 16, 6, CONFIG)).mean() > 0.5


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_box_lies_inside_the_image(width, height):
    for left, top, right, bottom in boxes(width, height):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_of_image_gives_a_crop(width, height):
    for key in range(10):
        assert augment(noise(width, height), 8, key, CONFIG).shape == (8, 8, 3)


@pytest.mark.parametrize("config", [CONFIG, AugmentConfig(min_scale=0.05, max_aspect=2)])
def test_areas_and_aspects_fill_their_range_and_stay_in_it(config):
    found = np.array(boxes(1200, 1000, 2000, config))
    w, h = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    area, aspect = w * h / 1_200_000, w / h
    assert config.min_scale * 0.98 < area.min() < config.min_scale + 0.02
    assert 0.9 < area.max() <= 1
    assert 0.98 / config.max_aspect < aspect.min() < 1.05 / config.max_aspect
    assert 0.95 * config.max_aspect < aspect.max() < config.max_aspect * 1.02


def test_boxes_reach_every_edge_and_do_not_favour_one():
    found = np.array(boxes(200, 200, 3000))
    left, right = found[:, 0], 200 - found[:, 2]
    top, bottom = found[:, 1], 200 - found[:, 3]
    for slack in (left, right, top, bottom):
        assert slack.min() == 0
    assert abs(left.mean() / right.mean() - 1) < 0.1
    assert abs(top.mean() / bottom.mean() - 1) < 0.1


def test_a_strip_that_no_try_fits_gives_its_largest_central_box():
    for box in boxes(1000, 10, 20):
        left, top, right, bottom = box
        assert (top, bottom) == (0, 10)
        assert right - left == 13  # round(10 · 4 / 3), in whole pixels
        assert left == (1000 - 13) // 2


def test_about_half_of_the_crops_are_flipped():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 64, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    flipped = [
        bool(crop[0, 0, 0] > crop[0, -1, 0])
        for crop in (augment(image, 8, key, CONFIG) for key in range(1000))
    ]
    assert 430 < sum(flipped) < 570


def test_a_flipped_crop_is_the_mirror_of_the_unflipped_one():
    image, still = noise(40, 40), AugmentConfig(flip=False)
    pairs = [(augment(image, 8, key, CONFIG), augment(image, 8, key, still)) for key in range(40)]
    mirrored = [not np.array_equal(one, other) for one, other in pairs]
    assert 5 < sum(mirrored) < 35
    for (one, other), mirror in zip(pairs, mirrored, strict=True):
        np.testing.assert_array_equal(one, other[:, ::-1] if mirror else other)


def test_the_whole_image_is_the_crop_where_the_config_leaves_no_choice():
    image = noise(50, 50)
    crop = augment(image, 16, 3, AugmentConfig(min_scale=1, max_aspect=1, flip=False))
    np.testing.assert_array_equal(
        crop, np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    )


@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 480), (97, 1000), (3, 192), (64, 1)])
def test_a_whole_image_is_squashed_without_a_crop_whatever_the_key(width, height):
    image, whole = noise(width, height), AugmentConfig(whole=True, flip=False)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    for key in range(3):
        np.testing.assert_array_equal(augment(image, 16, key, whole), expected)


def test_of_a_whole_strip_the_middle_is_squashed_which_takes_no_memory():
    """Whole, it would be 224 x 2 million pixels in between: two gigabytes."""
    strip = Image.new("RGB", (1, 2_000_000))
    strip.paste((255, 255, 255), (0, 1_000_000 - 32, 1, 1_000_000 + 32))
    assert (augment(strip, 224, 0, AugmentConfig(whole=True)) == 255).mean() > 0.9


@pytest.mark.parametrize(("width", "height"), [(512, 512), (400, 300), (300, 700), (123, 97)])
def test_the_evaluation_view_is_resizing_to_256_and_cropping_224(width, height):
    image = noise(width, height).filter(ImageFilter.GaussianBlur(3))
    scale = 256 / min(width, height)
    large = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (large.width - 224) // 2, (large.height - 224) // 2
    expected = np.asarray(large.crop((left, top, left + 224, top + 224))).astype(int)
    view = evaluation_view(image, 224).astype(int)
    assert view.shape == (224, 224, 3)
    assert np.abs(view - expected).mean() < 2


@pytest.mark.parametrize("size", [224, 64, 12])
@pytest.mark.parametrize(("width", "height"), [(512, 512), (301, 400), (33, 70), (16, 256)])
def test_the_evaluation_view_is_torchvisions_resize_and_centre_crop_to_the_bit(width, height, size):
    image = noise(width, height)
    stock = Compose([Resize(size * 256 // 224, InterpolationMode.BICUBIC), CenterCrop(size)])
    np.testing.assert_array_equal(evaluation_view(image, size), np.asarray(stock(image)))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_of_image_has_an_evaluation_view(width, height):
    assert evaluation_view(noise(width, height), 8).shape == (8, 8, 3)


def test_the_evaluation_view_is_the_middle_and_never_flipped():
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[:, 40:80] = 255  # the left half of the middle 70, and what lies left of that
    view = evaluation_view(Image.fromarray(pixels), 14)
    assert (view[:, :6] > 250).all()
    assert (view[:, 8:] < 5).all()


def test_the_draws_of_a_whole_batch_are_those_of_each_slot_by_its_own_key():
    sources = [PlannedSource("web", 23, 4, 2), PlannedSource("in1k", 7, 1, 1)]
    slots = StreamPlan(sources, 0, 24, 8).slots(5, np.arange(8))
    found = crop_draws(slots, ["web", "in1k"], seed=9)
    assert found.shape == (24, 1 + 4 * TRIES)
    rows = zip(slots.source, slots.places.epoch, slots.places.sample, found, strict=True)
    for source, epoch, sample, draws in rows:
        key = mix(base_key(9, "augment", ["web", "in1k"][source]), epoch, sample)
        np.testing.assert_array_equal(draws, uniforms(key, 1 + 4 * TRIES)[0])
    assert set(slots.source.tolist()) == {0, 1}


def test_crops_differ_between_seeds_sources_epochs_and_samples():
    def draws(name="web", seed=0, epoch=0, sample=4):
        slots = StreamPlan([PlannedSource(name, 23, 1, 2)], 0, 1, 1).slots(0, np.arange(1))
        places = slots.places._replace(epoch=np.array([epoch]), sample=np.array([sample]))
        return crop_draws(slots._replace(places=places), [name], seed)

    others = [{"name": "in1k"}, {"seed": 1}, {"epoch": 1}, {"sample": 5}]
    for other in others:
        assert (draws(**other) != draws()).all(), other
    assert (draws() == draws()).all()


def test_colours_are_left_alone_unless_asked_for_and_then_changed_as_aims_code_does():
    assert AugmentConfig().jitter is None
    assert AugmentConfig(jitter={}).jitter == JitterConfig(
        brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, probability=0.8
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_scale", 0),
        ("min_scale", 1.5),
        ("max_aspect", 0.9),
        ("draft", "half"),
        ("jitter", 1),
        ("jitter", {"hue": 0.6}),
        ("jitter", {"brightness": -0.1}),
        ("jitter", {"probability": 1.1}),
        ("jitter", {"sharpness": 0.1}),
    ],
)
def test_a_config_out_of_range_is_refused_by_the_fields_name(field, value):
    inner = list(value) if isinstance(value, dict) else []
    with pytest.raises(ValidationError, match=r"\.".join([field, *inner])):
        AugmentConfig(**{field: value})
