"""Waiting that can be ended, by what the waiting thread was told beforehand."""

import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from pipeline.format import ending
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.patience import Patience, patiently, read_range
from tests.pipeline.format import scripted

URL = "scripted://b/0.tar"
LONG = Patience(deadline=300, first_pause=60, longest_pause=60)


@pytest.fixture
def fake() -> type[scripted.ScriptedStore]:
    """Holds one file."""
    fake = scripted.empty()
    fake.files["b/0.tar"] = b"0123456789"
    return fake


@pytest.fixture
def ended() -> Future[None]:
    """Ends the work in `pool`."""
    return Future()


@pytest.fixture
def pool(ended):
    """One thread that heeds `ended`."""
    with ThreadPoolExecutor(1, initializer=ending.heed, initargs=(ended,)) as pool:
        yield pool


def assert_ends(work: Future, ended: Future[None]) -> None:
    time.sleep(0.1)
    assert not work.done()
    begun = time.monotonic()
    ended.set_result(None)
    with pytest.raises(CancelledError):
        work.result(10)
    assert time.monotonic() - begun < 1


def test_a_pause_ends_with_the_work_of_its_thread(pool, ended):
    assert_ends(pool.submit(ending.pause, 60), ended)


@pytest.mark.parametrize("answer", [OSError("busy"), 600.0], ids=["fails", "says nothing"])
def test_a_read_of_a_store_ends_with_the_work_of_its_thread(fake, pool, ended, answer):
    fake.script = [answer] * 9
    assert_ends(pool.submit(read_range, URL, 0, 10, LONG), ended)
    assert len(fake.asked) == 1


def test_a_request_that_is_given_up_is_cancelled_in_the_store(fake, pool, ended):
    fake.script = [600.0]
    assert_ends(pool.submit(read_range, URL, 0, 10, LONG), ended)
    time.sleep(0.1)
    assert fake.abandoned == ["b/0.tar"]


def test_a_thread_whose_work_has_ended_asks_no_store_any_more(fake, pool, ended):
    ended.set_result(None)
    with pytest.raises(CancelledError):
        pool.submit(read_range, URL, 0, 10, LONG).result(10)
    assert fake.asked == []


def test_other_threads_wait_as_long_as_ever(fake, pool, ended):
    ended.set_result(None)
    pool.submit(str).result(10)
    ending.pause(0.01)
    assert read_range(URL, 0, 10, LONG) == b"0123456789"
    brief = Patience(deadline=0.05, first_pause=0.01)

    def fail() -> None:
        raise Unavailable("away")

    with pytest.raises(HeadraceError, match="given up after"):
        patiently(fail, URL, brief)


def test_work_that_has_not_ended_gets_its_answers_and_errors(fake, pool):
    assert pool.submit(read_range, URL, 2, 4, LONG).result(10) == b"23"
    fake.script = [FileNotFoundError("b/0.tar")]
    with pytest.raises(HeadraceError, match="no such file"):
        pool.submit(read_range, URL, 0, 10, LONG).result(10)
