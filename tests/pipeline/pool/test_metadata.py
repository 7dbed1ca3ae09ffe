"""metadata.jsonl: what a line tells of which image, and that no line can do harm."""

import json
from pathlib import Path

import pytest

from pipeline.pool import metadata
from pipeline.pool.sample import MAX_TEXT_BYTES


@pytest.fixture
def told(tmp_path):
    """What metadata files with these lines tell of these images."""

    def told(files: dict[str, bytes | list], images: set[str]):
        for name, lines in files.items():
            path = Path(tmp_path, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(lines if isinstance(lines, bytes) else text_of(lines))
        return metadata.records(f"file://{tmp_path}", files, images)

    return told


def text_of(records: list) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_record_belongs_to_the_image_in_its_folder_or_below(told):
    lines = [{"file_name": "1.png", "n": 1}, {"file_name": "b/2.png", "n": 2}]
    assert told({"a/metadata.jsonl": lines}, {"a/1.png", "a/b/2.png", "1.png"}) == {
        "a/1.png": {"n": 1},
        "a/b/2.png": {"n": 2},
    }


def test_the_nearest_file_wins_and_in_it_the_last_line(told):
    files = {
        "a/metadata.jsonl": [{"file_name": "1.png", "n": 1}, {"file_name": "./1.png", "n": 2}],
        "metadata.jsonl": [{"file_name": "a/1.png", "n": 3}, {"file_name": "2.png", "n": 4}],
    }
    assert told(files, {"a/1.png", "2.png"}) == {"a/1.png": {"n": 2}, "2.png": {"n": 4}}


@pytest.mark.parametrize("name", ["../2.png", "../a/../2.png", "/2.png", "b/../../2.png", "", "."])
def test_a_record_tells_of_nothing_outside_its_folder(told, name):
    assert told({"a/metadata.jsonl": [{"file_name": name}]}, {"2.png", "/2.png", "a"}) == {}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"1.png"',
        b'{"text": "x"}',
        b'{"file_name": 1}',
        b'{"file_name": null}',
        b'{"file_name": ["1.png"]}',
        b"\xff\xfe\x00",
        b'{"a": ' * 5000,
        b'{"file_name": "1.png", "n": ' + b"1" * 10_000 + b"}",
        b'{"file_name": "1.png", "text": "' + b"x" * (MAX_TEXT_BYTES + 1) + b'"}',
        b"x" * (3 << 20),
    ],
)
def test_a_line_that_is_no_record_is_passed_over(told, line):
    good = b'{"file_name": "1.png", "n": 1}'
    for data in (line + b"\n" + good, good + b"\n" + line, good + b"\r\n" + line + b"\n\n"):
        assert told({"metadata.jsonl": data}, {"1.png"}) == {"1.png": {"n": 1}}


def test_text_that_is_no_utf8_keeps_its_readable_part(told):
    data = b'{"file_name": "1.png", "text": "caf\xe9"}'
    assert told({"metadata.jsonl": data}, {"1.png"}) == {"1.png": {"text": "caf\ufffd"}}


def test_lines_are_whole_wherever_the_pieces_of_a_file_end(told):
    lines = [{"file_name": f"{number}.png", "text": "x" * 997} for number in range(3000)]
    images = {f"{number}.png" for number in range(3000)}
    assert set(told({"metadata.jsonl": lines}, images)) == images


def test_only_what_is_asked_for_is_kept(told):
    lines = [{"file_name": f"{number}.png"} for number in range(100)]
    assert told({"metadata.jsonl": lines}, {"7.png"}) == {"7.png": {}}
