"""Ranges of a shard: all the bytes that were asked for, or an error that says what is wrong."""

import pytest

from pipeline.format import store
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.patience import Patience, read_range

PATIENCE = Patience()


@pytest.fixture
def url(tmp_path) -> str:
    (tmp_path / "0.tar").write_bytes(bytes(range(100)))
    return str(tmp_path / "0.tar")


def answers(monkeypatch, *given: bytes) -> list[tuple]:
    """Makes the store give these, one after the other; returns what it is asked."""
    asked, left = [], list(given)
    monkeypatch.setattr(store, "read_bytes", lambda *range_: asked.append(range_) or left.pop(0))
    return asked


def test_a_range_is_read_as_asked(url):
    assert read_range(url, 10, 13, PATIENCE) == bytes([10, 11, 12])
    assert read_range(url, 5, 5, PATIENCE) == b""


def test_a_shard_that_ends_too_early_was_cut_and_is_named(url):
    with pytest.raises(HeadraceError, match=r"0\.tar: ends at byte 100, the index says 120 or"):
        read_range(url, 90, 120, PATIENCE)


def test_an_answer_that_is_too_long_is_never_delivered(url, monkeypatch):
    answers(monkeypatch, b"0123")
    with pytest.raises(Unavailable, match=r"0\.tar: the store gave 4 bytes where 3 were asked for"):
        read_range(url, 0, 3, PATIENCE)


def test_bytes_that_look_wrong_and_come_again_are_believed(url, monkeypatch):
    asked = answers(monkeypatch, b"bad", b"bad")
    assert read_range(url, 0, 3, PATIENCE, lambda data: data == b"bad") == b"bad"
    assert asked == [(url, 0, 3)] * 2


def test_bytes_that_look_wrong_and_do_not_come_again_are_the_stores_fault(url, monkeypatch):
    answers(monkeypatch, b"bad", b"own")
    with pytest.raises(Unavailable, match="two reads of bytes 0 to 3 differ"):
        read_range(url, 0, 3, PATIENCE, lambda data: data == b"bad")


def test_bytes_that_look_right_are_read_once(url, monkeypatch):
    asked = answers(monkeypatch, b"own")
    assert read_range(url, 0, 3, PATIENCE, lambda data: data == b"bad") == b"own"
    assert len(asked) == 1


@pytest.mark.parametrize("field", ["deadline", "first_pause", "longest_pause", "stall"])
def test_a_patience_of_no_time_is_refused_by_the_fields_name(field):
    with pytest.raises(ValueError, match=f"{field} must be above 0 seconds"):
        Patience(**{field: 0})
