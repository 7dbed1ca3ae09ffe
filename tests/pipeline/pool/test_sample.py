"""What a sample says of itself, without what nobody may read."""

import json

import pytest

from pipeline.pool.sample import clean_meta


def cleaned(value):
    return json.loads(clean_meta({"field": value}))["field"]


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://user:hunter2@host/a.jpg", "https://host/a.jpg"),
        ("https://hunter2@host:81/a.jpg#x", "https://host:81/a.jpg#x"),
        (
            "https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2&v=1",
            "https://b.s3.amazonaws.com/a.jpg?v=1",
        ),
        (
            "https://b.s3.amazonaws.com/a?AWSAccessKeyId=hunter2&Signature=hunter2&Expires=1",
            "https://b.s3.amazonaws.com/a?Expires=1",
        ),
        ("https://storage.googleapis.com/b/a?X-Goog-Signature=hunter2", "https://storage.googleapis.com/b/a"),
        ("https://x.blob.core.windows.net/c/a?sp=r&sig=hunter2", "https://x.blob.core.windows.net/c/a?sp=r"),
        ("https://host/a?access_token=hunter2&w=3", "https://host/a?w=3"),
        ("https://host/a?token=hunter2", "https://host/a"),
        ("https://host/a?api_key=hunter2&apikey=hunter2", "https://host/a"),
        ("https://host/a?client_secret=hunter2", "https://host/a"),
        ("https://host/a?password=hunter2", "https://host/a"),
        ("https://user:hunter2@[host/a.jpg", "https://[host/a.jpg"),
    ],
)  # fmt: skip
def test_credentials_and_signatures_leave_every_url(url, clean):
    assert cleaned(url) == clean
    assert "hunter2" not in clean_meta({"deep": {"list": [{"url": url}, [url]]}, "top": url})


@pytest.mark.parametrize(
    "value",
    [
        "https://host/a.jpg?w=3&h=%20x&empty=&design=4&keyword=a&monkey=b",
        "s3://bucket/a b.jpg",
        "no url: me@home.org?token=3",
        "https://[half an address",
        3,
        1.5,
        None,
        True,
        ["a", {"b": [1, 2]}],
    ],
)
def test_everything_else_stays_as_it_is(value):
    assert cleaned(value) == value


def test_equal_records_have_one_text():
    assert clean_meta({"b": 1, "a": "é"}) == clean_meta({"a": "é", "b": 1}) == '{"a":"é","b":1}'


def test_a_record_that_no_utf8_can_hold_is_still_a_record():
    assert json.loads(clean_meta({"a": "\ud800"})) == {"a": "?"}
