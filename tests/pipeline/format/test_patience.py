"""Reading that lasts: the right bytes in the end, or one error that says what is wrong."""

import errno
import logging
import os
import time

import pytest

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.patience import Patience, _pause, patiently, read_range, read_whole
from tests.pipeline.format import scripted

QUICK = Patience(deadline=5, first_pause=0.0001, longest_pause=0.001, stall=0.2)
SHORT = Patience(deadline=0.05, first_pause=0.001, longest_pause=0.01, stall=0.02)
URL = "scripted://b/0.tar"
BYTES = bytes(range(100))
BUSY = OSError(errno.EBUSY, "Reduce your request rate")


@pytest.fixture
def fake() -> type[scripted.ScriptedStore]:
    """Holds one shard of a hundred bytes."""
    fake = scripted.empty()
    fake.files["b/0.tar"] = BYTES
    return fake


# Ranges


def test_a_range_is_read_as_asked(fake):
    assert read_range(URL, 10, 13, QUICK) == bytes([10, 11, 12])
    assert fake.asked == [("b/0.tar", 10, 13)]


def test_a_range_of_nothing_asks_nobody(fake):
    assert read_range(URL, 5, 5, QUICK) == b""
    assert fake.asked == []


def test_a_local_file_is_read_as_any_other(tmp_path):
    (tmp_path / "0.tar").write_bytes(BYTES)
    assert read_range(str(tmp_path / "0.tar"), 10, 13, QUICK) == bytes([10, 11, 12])
    assert read_whole(str(tmp_path / "0.tar"), QUICK) == BYTES


@pytest.mark.parametrize(
    "failure",
    [
        BUSY,
        OSError(errno.EREMOTEIO, "We encountered an internal error"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TimeoutError(),
        b"0123456789a",  # too long
        b"01234",  # too short
        b"",
    ],
    ids=repr,
)
def test_a_store_that_fails_is_asked_until_it_answers(fake, failure):
    fake.script = [failure] * 12
    assert read_range(URL, 20, 30, QUICK) == BYTES[20:30]
    assert len(fake.asked) == 13


def test_after_the_deadline_one_line_names_the_url_the_tries_the_seconds_and_the_reason(fake):
    fake.script = [BUSY] * 10_000
    begun = time.monotonic()
    with pytest.raises(HeadraceError) as caught:
        read_range(URL, 0, 10, SHORT)
    assert time.monotonic() - begun < 1
    assert type(caught.value) is HeadraceError, "nobody who asks again may wait as long again"
    assert str(caught.value) == (
        f"{URL}: given up after 0 s and {len(fake.asked)} tries, the last one: the store cannot be "
        "read: Reduce your request rate; look at the store, and run the same command again"
    )
    assert len(fake.asked) > 3


def test_every_failed_try_is_told_while_it_lasts(fake, caplog):
    fake.script = [BUSY, b"0"]
    read_range(URL, 0, 10, QUICK)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.WARNING, f"{URL}: try 1: the store cannot be read: Reduce your request rate"),
        (logging.WARNING, f"{URL}: try 2: the store gave 1 bytes where 10 were asked for"),
    ]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (FileNotFoundError("b/0.tar"), "no such file; check the path"),
        (PermissionError("Access Denied"), "reading is not allowed; check the credentials"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "Is a directory"),
    ],
)
def test_what_is_missing_or_forbidden_is_so_at_once(fake, failure, told):
    fake.script = [failure]
    with pytest.raises(HeadraceError, match=f"{URL}: .*{told}"):
        read_range(URL, 0, 10, QUICK)
    assert len(fake.asked) == 1


@pytest.mark.parametrize("start", [90, 110])
def test_a_shard_that_the_store_says_is_shorter_was_cut_and_is_named_at_once(fake, start):
    with pytest.raises(HeadraceError, match=r"0\.tar: ends at byte 100, the index says 120 or"):
        read_range(URL, start, 120, QUICK)
    assert len(fake.asked) == 1


def test_a_store_that_refuses_a_range_behind_the_end_has_a_cut_shard(fake):
    fake.script = [OSError(errno.EINVAL, "The requested range is not satisfiable")]
    with pytest.raises(HeadraceError, match=r"0\.tar: ends at byte 100, the index says 120 or"):
        read_range(URL, 110, 120, QUICK)


def test_a_body_that_stalls_is_abandoned_and_asked_for_again(fake):
    fake.script = [60.0, 0.0]
    begun = time.monotonic()
    assert read_range(URL, 0, 10, QUICK) == BYTES[:10]
    assert time.monotonic() - begun < 5
    assert fake.abandoned == ["b/0.tar"]


def test_a_slow_body_is_waited_for_as_long_as_its_length_allows(fake):
    fake.files["b/0.tar"] = bytes(1_000_000)
    fake.script = [0.3]
    assert len(read_range(URL, 0, 1_000_000, QUICK)) == 1_000_000
    assert len(fake.asked) == 1


# Bytes that look wrong


def is_bad(data: bytes) -> bool:
    return data in (b"bad", b"evil")


def test_bytes_that_look_right_are_read_once(fake):
    assert read_range(URL, 0, 3, QUICK, is_bad) == BYTES[:3]
    assert len(fake.asked) == 1


def test_bytes_that_look_wrong_and_come_again_are_believed(fake):
    fake.script = [b"bad", b"bad"]
    assert read_range(URL, 0, 3, QUICK, is_bad) == b"bad"
    assert len(fake.asked) == 2


def test_bytes_that_look_wrong_once_were_the_stores_fault(fake):
    fake.script = [b"bad"]
    assert read_range(URL, 0, 3, QUICK, is_bad) == BYTES[:3]
    assert len(fake.asked) == 2


def test_bytes_that_look_wrong_in_two_ways_are_never_believed(fake):
    fake.files["b/0.tar"] = b"good"
    fake.script = [b"evil", b"bad!"] * 2
    found = read_range(URL, 0, 4, QUICK, lambda data: data != b"good")
    assert found == b"good"
    assert len(fake.asked) == 5


# Whole files, and anything else


def test_a_whole_file_is_its_size_and_then_its_bytes(fake):
    fake.script = [BUSY, BYTES[:50]]
    assert read_whole(URL, QUICK) == BYTES
    assert fake.asked == [("b/0.tar", 0, 100)] * 3


def test_an_empty_file_is_read_too(fake):
    fake.files["b/0.tar"] = b""
    assert read_whole(URL, QUICK) == b""


def test_a_missing_file_is_named_at_once(fake):
    with pytest.raises(HeadraceError, match="scripted://b/none: no such file"):
        read_whole("scripted://b/none", QUICK)
    assert fake.asked == []


def test_whatever_reads_a_store_can_be_called_again(fake):
    fake.script = [BUSY] * 3
    assert patiently(lambda: store.read_bytes(URL), URL, QUICK) == BYTES


def test_an_error_of_ours_is_not_tried_again(fake):
    calls = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        patiently(fail, URL, QUICK)
    assert len(calls) == 1


def test_credentials_in_a_url_are_not_repeated():
    url = "https://host/0.tar?X-Amz-Signature=hunter2&key=1"

    def fail() -> None:
        raise Unavailable(f"{address.redact(url)}: away")

    with pytest.raises(HeadraceError, match=r"^https://host/0\.tar: given up .*: away;") as caught:
        patiently(fail, url, SHORT)
    assert "hunter2" not in str(caught.value)


# Pauses


def test_pauses_double_up_to_the_longest_and_are_never_shorter_than_half():
    for tries, longest in [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (10_000, 30)]:
        assert longest / 2 <= _pause(URL, tries, Patience()) <= longest


def test_readers_of_other_shards_and_other_processes_come_again_at_other_times(monkeypatch):
    pauses = {_pause(f"s3://b/{n}.tar", 1, Patience()) for n in range(100)}
    monkeypatch.setattr(os, "getpid", lambda: -1)
    pauses |= {_pause(f"s3://b/{n}.tar", 1, Patience()) for n in range(100)}
    assert len(pauses) == 200
    assert max(pauses) - min(pauses) > 0.2


@pytest.mark.parametrize("field", ["deadline", "first_pause", "longest_pause", "stall"])
def test_a_patience_of_no_time_is_refused_by_the_fields_name(field):
    with pytest.raises(ValueError, match=f"{field} must be above 0 seconds"):
        Patience(**{field: 0})
