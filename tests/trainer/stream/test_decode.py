import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.images import decode
from pipeline.format.shards import of_snapshot
from trainer.stream import decode as decoding
from trainer.stream.augment import TRIES, AugmentConfig, augment, random_box
from trainer.stream.bad import Bad
from trainer.stream.decode import Planned, fill
from trainer.stream.keyed import uniforms
from trainer.stream.source import Record, Source

CONFIG = AugmentConfig()
DRAWS = uniforms(0, 1 + 4 * TRIES)[0]


class Changed(Source):
    """A source with a sample that is not what the tar says, however often it is read."""

    def __init__(self, snapshot, sample, **changes):
        super().__init__("web", of_snapshot(snapshot))
        self.sample, self.changes = sample, {"image": b"no image"} | changes

    def records(self, start, length):
        found = super().records(start, length)
        return [replace(r, **self.changes) if r.sample == self.sample else r for r in found]


def without_image(record: Record) -> Record:
    return replace(record, image=b"")


def deliver(planned, size=8, seed=0, config=CONFIG):
    """What a slot gets, and its pixels."""
    out = np.empty((size, size, 3), np.uint8)
    return decoding.deliver(out, planned, DRAWS, seed, config), out


def deliver_one(source, sample, epoch=0):
    return deliver(Planned(source, epoch, source.records(sample, 1)[0]))


def deliver_damaged(web, sample, epoch=0, **changes):
    return deliver_one(Changed(web, sample, **changes), sample, epoch)


def test_a_good_record_is_delivered_as_its_draws_crop_it(web, pictures):
    source = Source("web", of_snapshot(web))
    record = source.records(4, 1)[0]
    made, pixels = deliver(Planned(source, 2, record), size=16)
    assert (made.key, made.caption) == (pictures[4].key, pictures[4].text.decode())
    assert made.bad is None
    np.testing.assert_array_equal(pixels, augment(decode(record.image), 16, DRAWS, CONFIG))


def test_slots_are_filled_in_their_order_and_nothing_beside_them(web, pictures):
    source = Source("web", of_snapshot(web))
    slab = np.full((6, 8, 8, 3), 7, np.uint8)
    planned = [Planned(source, 0, record) for record in source.records(2, 4)]
    draws = uniforms(np.arange(4), 1 + 4 * TRIES)
    filled = fill(slab[1:5], planned, draws, 0, CONFIG)
    assert [one.key for one in filled.delivered] == [picture.key for picture in pictures[2:6]]
    for one, row, pixels in zip(planned, draws, slab[1:5], strict=True):
        np.testing.assert_array_equal(pixels, augment(decode(one.record.image), 8, row, CONFIG))
    assert (slab[[0, 5]] == 7).all()


def test_a_damaged_record_is_replaced_by_the_same_good_one_on_every_run(web, pictures):
    made = [deliver_damaged(web, 4) for _ in range(3)]
    assert len({one.key for one, _ in made}) == 1
    assert made[0][0].key in {picture.key for picture in pictures[:23]}
    np.testing.assert_array_equal(made[0][1], made[2][1])


def test_a_damaged_record_is_told_with_its_place_its_reason_and_what_stands_in(web, pictures):
    shard = f"{web.dataset}/{web.shards[1].path}"
    made, _ = deliver_damaged(web, 11)
    begins = "not_an_image: begins with b'no image'"
    offset = Source("web", of_snapshot(web)).records(11, 1)[0].offset
    assert made.bad == Bad("web", 11, shard, pictures[11].key, offset, begins, instead=made.key)
    assert made.bad.kind == "not_an_image"


def test_a_record_that_is_not_in_its_tar_is_replaced_though_its_bytes_are_an_image(web, pictures):
    fault = "not_in_tar: 'x' stands where the index says"
    made, _ = deliver_damaged(web, 4, image=pictures[4].image, fault=fault)
    assert made.key != pictures[4].key
    assert (made.bad.reason, made.bad.kind) == (fault, "not_in_tar")


def test_a_wrong_answer_of_the_store_is_no_damaged_sample(web):
    source = Source("web", of_snapshot(web))
    once = replace(source.records(4, 1)[0], image=b"of another file")
    with pytest.raises(Unavailable, match=r"two reads of sample .* differ"):
        deliver(Planned(source, 0, once))


def test_replacements_are_spread_over_the_source(web):
    found = {
        deliver_damaged(web, sample, epoch)[0].key for sample in range(10) for epoch in range(10)
    }
    assert len(found) > 18


def test_damaged_replacements_are_passed_over_and_the_first_reason_is_told(web, pictures):
    class Hole(Source):
        def records(self, start, length):
            found = super().records(start, length)
            return [one if one.sample == 11 else without_image(one) for one in found]

    made, _ = deliver_one(Hole("web", of_snapshot(web)), 4)
    assert made.key == pictures[11].key
    assert (made.bad.sample, made.bad.kind) == (4, "empty")


def test_a_source_without_a_good_sample_fails_and_names_itself(web):
    class Ruin(Source):
        def records(self, start, length):
            return [without_image(one) for one in super().records(start, length)]

    with pytest.raises(HeadraceError, match=rf"{web.url}: 100 samples in a row"):
        deliver_one(Ruin("web", of_snapshot(web)), 4)


def jpeg(width, height, turn=None):
    """A record of a smooth picture; `turn` is what its EXIF says."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    planes = np.broadcast_arrays(across[None], down[:, None], (across[None] + down[:, None]) / 2)
    file, exif = io.BytesIO(), Image.Exif()
    if turn:
        exif[ExifTags.Base.Orientation] = turn
    image = Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))
    image.save(file, "JPEG", quality=95, exif=exif)
    return Record(0, "key", file.getvalue(), b"", "url", 0)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (641, 483), (300, 900)])
def test_a_draft_shows_the_same_part_of_the_picture(width, height):
    record = jpeg(width, height)
    draft = AugmentConfig(draft=True)
    for draws in uniforms(np.arange(20), 1 + 4 * TRIES):
        whole = decoding.crop(record, 64, draws, CONFIG).astype(int)
        part = decoding.crop(record, 64, draws, draft).astype(int)
        assert np.abs(whole - part).max() <= 6
        assert np.abs(whole - part).mean() < 1.5


@pytest.mark.parametrize("size", [32, 100, 224])
def test_a_draft_is_decoded_as_small_as_its_crop_allows_and_no_smaller(size, monkeypatch):
    seen = []

    def spy(image, size, draws, config, full=None, scale=1):
        seen.append((image.size, random_box(*(full or image.size), draws[1:], config), scale))
        return augment(image, size, draws, config, full, scale)

    monkeypatch.setattr(decoding, "augment", spy)
    for draws in uniforms(np.arange(30), 1 + 4 * TRIES):
        decoding.crop(jpeg(640, 480), size, draws, AugmentConfig(draft=True))
    for decoded, (left, top, right, bottom), scale in seen:
        least = min(right - left, bottom - top)
        assert decoded == (640 * scale, 480 * scale)
        assert scale == 1 or least * scale >= size
        assert scale == 1 / 8 or least * scale / 2 < size
    assert any(scale < 1 for *_, scale in seen)


def test_what_exif_turns_and_what_is_no_jpeg_is_decoded_whole(pictures):
    draft = AugmentConfig(draft=True)
    other = next(one for one in pictures if one.extension != "jpg")
    for record in (jpeg(640, 480, turn=6), replace(jpeg(8, 8), image=other.image)):
        np.testing.assert_array_equal(
            decoding.crop(record, 16, DRAWS, draft), decoding.crop(record, 16, DRAWS, CONFIG)
        )
