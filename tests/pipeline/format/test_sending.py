"""A store that refuses for a while, or is not heard: what was to be written is, and once."""

import itertools
import time

import pytest
import s3fs

from pipeline.format import sending, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from tests.jobs import door
from tests.pipeline.format import refusing
from tests.pipeline.format.refusing import BROKEN, BUSY, DEAF, FORBIDDEN, LITERAL, LOST, SLOWER

pytestmark = pytest.mark.timeout(60)

QUICK = Patience(deadline=15, first_pause=0.02, longest_pause=0.1, stall=2)


@pytest.fixture(scope="module")
def server():
    """A misbehaving proxy before an S3 server; the environment leads to it."""
    with (
        door.s3() as (way, environment),
        refusing.before(way.behind) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def proxy(server, monkeypatch):
    """It follows no script yet, and nobody waits for long."""
    monkeypatch.setattr(sending, "patience", lambda: QUICK)
    server.follow({})
    return server


@pytest.fixture
def url(tmp_path) -> str:
    return f"s3://{door.BUCKET}/{tmp_path.name}"


def always(fault: str) -> dict[int, str]:
    return dict.fromkeys(range(10_000), fault)


@pytest.mark.parametrize("fault", [BUSY, BROKEN, SLOWER, LOST])
def test_a_store_that_refuses_for_a_while_is_asked_until_it_writes(proxy, url, fault):
    proxy.follow(dict.fromkeys(range(12), fault))
    writing.publish(url, b"whole")
    assert store.read_bytes(url) == b"whole"
    assert len(proxy.told) == 12, "the script was played to its end"


def test_a_peer_that_stops_reading_is_given_up_and_tried_again(proxy, url, monkeypatch):
    monkeypatch.setattr(sending, "SLOWEST", 1e8)
    proxy.follow({0: DEAF})
    data, begun = bytes(range(256)) * 60_000, time.monotonic()  # more than lines hold
    writing.publish(url, data)
    assert 2 < time.monotonic() - begun < 30
    assert store.read_bytes(url) == data


def test_a_create_only_file_whose_answer_was_lost_is_created(proxy, url):
    proxy.follow({0: LOST})
    writing.publish(url, b"mine", create_only=True)
    assert store.read_bytes(url) == b"mine"


def test_a_create_only_file_that_another_one_made_meanwhile_is_refused(proxy, url):
    writing.publish(url, b"them")
    proxy.follow({0: BUSY})
    with pytest.raises(FileExistsError):
        writing.publish(url, b"mine", create_only=True)
    assert store.read_bytes(url) == b"them"


def test_a_condition_decides_where_looking_before_is_too_early(proxy, url, monkeypatch):
    writing.publish(url, b"them")
    monkeypatch.setattr(store, "exists", lambda *_: False)
    with pytest.raises(FileExistsError):
        writing.publish(url, b"mine", create_only=True)
    assert store.read_bytes(url) == b"them"


@pytest.mark.parametrize("fault", [BUSY, LOST])
def test_a_swap_that_was_refused_or_not_answered_is_made_once(proxy, url, fault):
    for before, after in itertools.pairwise([None, b"first", b"second"]):
        proxy.follow({0: fault})
        assert writing.swap(url, before, after)
        assert store.read_bytes(url) == after
    assert not writing.swap(url, b"first", b"third")


def test_a_server_that_knows_versions_only_without_their_quotes_is_spoken_to_so(proxy, url):
    writing.publish(url, b"first")
    proxy.follow(always(LITERAL))
    assert writing.swap(url, b"first", b"second")
    assert store.read_bytes(url) == b"second"


@pytest.mark.parametrize("fault", [BUSY, LOST])
def test_a_removal_that_was_refused_or_not_answered_is_made(proxy, url, fault):
    writing.publish(url, b"1")
    proxy.follow({0: fault})
    writing.remove(url)
    assert not store.exists(url)


def test_a_store_that_forbids_is_believed_at_once(proxy, url):
    proxy.follow(always(FORBIDDEN))
    with pytest.raises(
        HeadraceError, match=f"^{url}: not written: it is not allowed; check the cr"
    ):
        writing.publish(url, b"1")
    assert len(proxy.told) == 1


def test_a_bucket_that_is_not_there_is_told_at_once(proxy):
    with pytest.raises(HeadraceError, match=r"^s3://none/a: not written: there is no such bucket"):
        writing.publish("s3://none/a", b"1")


def test_after_the_deadline_one_line_names_the_file_and_the_reason(proxy, url, monkeypatch):
    monkeypatch.setattr(sending, "patience", lambda: Patience(1, 0.02, 0.1, stall=0.1))
    proxy.follow(always(BROKEN))
    with pytest.raises(
        HeadraceError, match=rf"^{url}: given up after \d s and \d+ tries, .*: not wr"
    ):
        writing.publish(url, b"1")


def test_the_deadline_is_the_environments_or_five_minutes(monkeypatch):
    monkeypatch.delenv(sending.DEADLINE, raising=False)
    assert sending.patience() == Patience()
    monkeypatch.setenv(sending.DEADLINE, "2.5")
    assert sending.patience() == Patience(deadline=2.5, stall=2.5)  # a try is no longer than all


@pytest.mark.parametrize("said", ["soon", "0", "-1"])
def test_a_deadline_that_is_no_time_is_named(monkeypatch, said):
    monkeypatch.setenv(sending.DEADLINE, said)
    with pytest.raises(HeadraceError, match=f"HEADRACE_STORE_DEADLINE: '{said}' is no number of"):
        sending.patience()
