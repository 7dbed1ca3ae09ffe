import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, decode
from pipeline.format.patience import Patience
from pipeline.format.shards import of_snapshot
from tests.trainer.stream import pinning
from trainer.stream import decode as decoding
from trainer.stream.augment import TRIES, AugmentConfig, augment, random_box
from trainer.stream.bad import Bad
from trainer.stream.decode import Planned, fill
from trainer.stream.keyed import uniforms
from trainer.stream.pinned import Pinned
from trainer.stream.source import Record, Source

CONFIG = AugmentConfig()
DRAWS = uniforms(0, 1 + 4 * TRIES)[0]


def overwrite(tar, old, new):
    """Changes some bytes of a tar, and leaves all others where they are."""
    data = tar.read_bytes()
    assert old in data
    tar.write_bytes(data.replace(old, new.ljust(len(old), b"-")))


@pytest.fixture
def spoiled(tmp_path, make_snapshot, pictures):
    """Makes a source of 23 samples, some of them no images; by number, what those begin with."""

    def make(begins: dict[int, bytes]) -> Source:
        snapshot = make_snapshot(tmp_path, pictures, [9, 8, 6])
        for number, begin in begins.items():
            shard = snapshot.shards[(number >= 9) + (number >= 17)]
            overwrite(tmp_path / shard.path, pictures[number].image, begin)
        return Source("web", of_snapshot(snapshot))

    return make


def deliver(planned, size=8, seed=0, config=CONFIG):
    """What a slot gets, and its pixels."""
    out = np.empty((size, size, 3), np.uint8)
    return decoding.deliver(out, planned, DRAWS, seed, config), out


def deliver_one(source, sample, epoch=0):
    return deliver(Planned(source, epoch, source.records(sample, 1)[0]))


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


# Damaged samples


def test_a_damaged_record_is_replaced_by_the_same_good_one_on_every_run(spoiled, pictures):
    shards = spoiled({4: b"no image"}).shards
    made = [deliver_one(Source("web", shards), 4) for _ in range(3)]
    assert len({one.key for one, _ in made}) == 1
    assert made[0][0].key in {picture.key for picture in pictures[:23]} - {pictures[4].key}
    np.testing.assert_array_equal(made[0][1], made[2][1])


def test_a_damaged_record_is_told_with_its_place_its_reason_and_what_stands_in(spoiled, pictures):
    source = spoiled({11: b"no image"})
    made, _ = deliver_one(source, 11)
    place = (source.shards.url(1), pictures[11].key, source.records(11, 1)[0].offset)
    begins = "not_an_image: begins with b'no image--------'"
    assert made.bad == Bad("web", 11, *place, begins, instead=made.key)
    assert made.bad.kind == "not_an_image"


def test_a_record_that_is_not_in_its_tar_is_replaced_though_its_bytes_are_an_image(
    spoiled, tmp_path, pictures
):
    source, key = spoiled({}), pictures[4].key.encode()
    overwrite(tmp_path / source.shards.paths[0], key, b"9")
    made, _ = deliver_one(source, 4)
    assert made.key != pictures[4].key
    assert made.bad.reason == "not_in_tar: no header stands where the index says"
    assert made.bad.kind == "not_in_tar"


def test_replacements_are_spread_over_the_source(spoiled):
    source = spoiled(dict.fromkeys(range(10), b"no image"))
    found = {deliver_one(source, n, epoch)[0].key for n in range(10) for epoch in range(10)}
    assert len(found) > 10, "as many as there are would be keyed by sample or epoch alone"


def test_damaged_replacements_are_passed_over_and_the_first_reason_is_told(spoiled, pictures):
    others = dict.fromkeys(set(range(23)) - {4, 11}, b"no image")
    made, _ = deliver_one(spoiled(others | {4: b"the first"}), 4)
    assert made.key == pictures[11].key
    assert (made.bad.sample, made.bad.kind) == (4, "not_an_image")
    assert "the first" in made.bad.reason


def test_a_source_without_a_good_sample_fails_and_names_itself(spoiled):
    source = spoiled(dict.fromkeys(range(23), b"no image"))
    with pytest.raises(HeadraceError, match=rf"{source.shards.label}: 100 samples in a row"):
        deliver_one(source, 4)


# Wrong answers of the store


def assert_whole(made, pixels, picture):
    """A slot got its own sample, and no damage is told."""
    assert (made.key, made.caption, made.bad) == (picture.key, picture.text.decode(), None)
    np.testing.assert_array_equal(pixels, augment(decode(picture.image), 8, DRAWS, CONFIG))


def answered_wrongly(source, sample):
    """A sample as planned, with other bytes than the store will give."""
    record = source.records(sample, 1)[0]
    return Planned(source, 0, replace(record, image=b"another's", text=b"another's"))


@pytest.fixture
def answer_wrongly(monkeypatch, pictures):
    """Has the store give something else for a picture each time, so many times."""

    def begin(picture, times):
        whole, turns = store.read_bytes, iter(range(times))

        def read_bytes(*asked):
            wrong = b"wrong answer %d" % next(turns, -1)
            data, image = whole(*asked), picture.image
            return data if wrong.endswith(b"-1") else data.replace(image, wrong.ljust(len(image)))

        monkeypatch.setattr(store, "read_bytes", read_bytes)

    return begin


def test_a_wrong_answer_of_the_store_is_no_damaged_sample(web, pictures):
    planned = answered_wrongly(Source("web", of_snapshot(web)), 4)
    assert_whole(*deliver(planned), pictures[4])


def test_a_store_that_answers_wrongly_and_differently_is_asked_on(web, pictures, answer_wrongly):
    patience = Patience(first_pause=0.01)
    planned = answered_wrongly(Source("web", of_snapshot(web), patience), 4)
    answer_wrongly(pictures[4], times=4)
    assert_whole(*deliver(planned), pictures[4])


def test_a_store_that_never_answers_alike_ends_the_run_and_is_named(web, pictures, answer_wrongly):
    patience = Patience(deadline=0.1, first_pause=0.01, longest_pause=0.01)
    source = Source("web", of_snapshot(web), patience)
    planned = answered_wrongly(source, 4)
    answer_wrongly(pictures[4], times=10_000)
    with pytest.raises(HeadraceError, match=r"given up after .*two reads .*differ; look at") as end:
        deliver(planned)
    assert str(end.value).startswith(source.shards.url(0))


# Copies that rot


@pytest.fixture
def asked(tmp_path, monkeypatch) -> Path:
    """What the store was asked for, a line a read."""
    log = tmp_path / "asked"
    monkeypatch.setenv("COUNTING_LOG", str(log))
    monkeypatch.setattr("trainer.stream.pinned.PIECE", pinning.PIECE)
    return log


@pytest.fixture
def pinned(tmp_path, make_snapshot, pictures, asked) -> Source:
    """Nine samples of a far store, with a copy on this disk in which the first picture rotted."""
    shards = pinning.counted(make_snapshot(tmp_path / "far", pictures, [9]).url)
    source, pins = Source("web", shards), Pinned(str(tmp_path / "near"), 1 << 30)
    pins.want(shards)
    pinning.wait_for(pins)
    source.pinned = pins
    (copy,) = (tmp_path / "near").rglob("*.tar")
    overwrite(copy, pictures[0].image[20:220], b"rot")
    asked.write_text("")
    return source


def test_a_sample_that_rotted_in_a_copy_is_delivered_from_the_store(pinned, pictures, asked):
    with pytest.raises(ImageError):
        decode(pinned.records(0, 1)[0].image)
    assert asked.read_text() == "", "names are as they were: nobody saw it yet"
    assert_whole(*deliver_one(pinned, 0), pictures[0])
    assert len(asked.read_text().splitlines()) == 1


def test_a_copy_that_rotted_is_given_up_and_fetched_anew(pinned, pictures):
    deliver_one(pinned, 0)
    assert pinned.pinned.read(pinned.shards, 0, 0, 10) is None
    pinning.wait_for(pinned.pinned)
    assert pinned.pinned.read(pinned.shards, 0, 0, 10) is not None
    assert pinned.records(0, 1)[0].image == pictures[0].image


def test_a_sample_that_is_damaged_in_the_store_too_is_bad_for_the_stores_reason(
    pinned, tmp_path, pictures
):
    overwrite(tmp_path / "far" / pinned.shards.paths[0], pictures[0].image, b"no image")
    made, _ = deliver_one(pinned, 0)
    assert made.bad.reason == "not_an_image: begins with b'no image--------'"


# Drafts


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
