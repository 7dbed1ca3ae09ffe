"""Pictures that are made in another process: those of `prepare`, and what ends the process."""

import contextlib

import pytest

from pipeline.fetch.decoder import _answer, decoders, prepare_apart
from pipeline.fetch.picture import Picture, prepare
from pipeline.format.images import MAX_PIXELS, OUT_OF_MEMORY, ImageError
from tests.pipeline import dying
from tests.pipeline.fetch.server import BIG, JPEG, PAGE
from tests.pipeline.making import encode, picture, png

MAX_BYTES = 20_000_000


def prepared(*images: bytes, resize: int | None = None, seconds: float = 60) -> list[Picture | str]:
    """Each picture, or why there is none."""
    found: list[Picture | str] = []
    with contextlib.closing(decoders(resize, MAX_PIXELS, MAX_BYTES, seconds)) as children:
        for data in images:
            try:
                found.append(prepare_apart(data, children))
            except ImageError as error:
                found.append(str(error))
    return found


@pytest.mark.parametrize("resize", [None, 512])
def test_a_picture_is_the_one_that_is_made_here(resize):
    exif = picture(1).getexif()
    exif[0x010F] = "Märker\nof two lines"
    images = [JPEG, BIG, png(3), encode(picture(4), "JPEG", exif=exif)]
    made = prepared(*images, resize=resize)
    assert made == [prepare(data, resize, MAX_PIXELS) for data in images]


def test_what_is_no_image_keeps_its_reason():
    reasons = []
    for data in (b"", PAGE):
        with pytest.raises(ImageError) as caught:
            prepare(data, None, MAX_PIXELS)
        reasons.append(str(caught.value))
    assert prepared(b"", PAGE) == reasons


def test_a_decoder_that_dies_is_named_and_the_next_image_is_made(deadly):
    first, second, third, last = prepared(JPEG, dying.image("SIGSEGV"), dying.image("EXIT"), JPEG)
    assert (second, third) == ("decoder_died: signal SIGSEGV", "decoder_died: exit code 3")
    assert first == last == prepare(JPEG, None, MAX_PIXELS)


@pytest.mark.parametrize("how", ["HANG", "SPIN"])
def test_a_decoder_that_does_not_end_is_named_with_its_time(deadly, how):
    assert prepared(dying.image(how), seconds=1.5) == ["decoder_hung: over 1.5 s"]


def test_a_decoder_that_takes_all_memory_gets_as_much_as_one_image_may_have(deadly):
    assert prepared(dying.image("GROW")) == [OUT_OF_MEMORY]


def test_a_fault_of_ours_is_a_reason_too():
    assert _answer(None, "not a number", JPEG) == b'{"error": "preparing_failed: TypeError"}'


def test_no_process_is_left_behind(deadly):
    children = decoders(None, MAX_PIXELS, MAX_BYTES)
    prepare_apart(JPEG, children)
    process = children.child.process
    children.close()
    assert process.returncode is not None
