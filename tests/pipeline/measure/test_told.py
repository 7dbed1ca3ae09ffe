"""What a source tells of an image, and what a hostile one tells."""

import math

import pyarrow as pa
import pytest

from pipeline import ledger
from pipeline.measure.told import MOST_BOXES, facts

NAMES = [
    "url",
    "original_width",
    "original_height",
    "clip_b32_similarity_score",
    "clip_l14_similarity_score",
    "face_bboxes",
]
SCHEMA = pa.schema([ledger.IMAGE_SCHEMA.field(name) for name in NAMES])


def test_a_record_of_datacomp_is_taken_as_it_is():
    record = {
        "url": "https://example.com/a.jpg?size=large",
        "original_width": 640,
        "original_height": 480.0,
        "clip_b32_similarity_score": 0.28,
        "clip_l14_similarity_score": -0.03,
        "face_bboxes": [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]],
        "uid": "0" * 32,
    }
    found = facts(record)
    assert found == {name: record[name] for name in NAMES}
    assert isinstance(found["original_height"], int)


def test_what_is_not_told_is_null():
    assert facts({}) == dict.fromkeys(NAMES)


HOSTILE = [
    None,
    True,
    "640",
    "",
    [],
    {},
    [[[]]],
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    10**400,
    -(10**400),
    2**31,
    -3,
    1.5,
    -7.25,
]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "face_bboxes"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_a_value_that_its_column_cannot_hold_is_null(name, value):
    wanted = value if name == "url" and value == "640" else None
    assert facts({name: value})[name] == wanted


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_every_row_fits_the_ledger(value):
    told = dict.fromkeys(NAMES, value) | {"face_bboxes": [[value] * 4, value, [0, 0, value, 1]]}
    for record in (told, dict.fromkeys(NAMES, value)):
        pa.Table.from_pylist([facts(record)], schema=SCHEMA).validate(full=True)


def test_boxes_are_cut_at_the_edges_and_those_that_are_none_left_out():
    boxes = [
        [-0.5, 0.2, 0.3, 7],
        [0.3, 0.4, 0.1, 0.2],
        [0.5, 0.5, 0.5, 0.9],
        [10, 20, 30, 40],
        [0.1, 0.2, 0.3],
        [0.1, 0.2, 0.3, math.nan],
        [0.1, 0.2, 0.3, "0.4"],
        [True, 0, 1, 1],
        "0123",
        {"x": 1},
    ]
    found = facts({"face_bboxes": boxes})["face_bboxes"]
    assert found == [[0.0, 0.2, 0.3, 1.0], [0.1, 0.2, 0.3, 0.4]]
    assert (
        facts({"face_bboxes": [[0, 0, 1, 1]] * 5000})["face_bboxes"] == [[0, 0, 1, 1]] * MOST_BOXES
    )


def test_a_url_loses_its_credentials_and_broken_unicode():
    assert facts({"url": "https://u:p@h/a?X-Amz-Signature=1&b=2"})["url"] == "https://h/a?b=2"
    assert facts({"url": "https://h/\ud800"})["url"] == "https://h/?"
    assert facts({"url": "https://h/" + "a" * 9000})["url"] is None
