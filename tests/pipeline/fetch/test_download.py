"""One URL: bytes, or the reason why not, from servers that do everything wrong."""

import asyncio
import base64
import os
import time
import tracemalloc
from ipaddress import ip_network

import pytest

from pipeline.fetch.download import DownloadConfig, download, session
from pipeline.fetch.failure import Failure
from tests.pipeline.fetch.server import BIG, JPEG, Web, hosts, http, moved, sends
from tests.pipeline.making import png

ALLOW = [ip_network("127.0.0.1/32")]
QUICK = {"timeout": 10, "retries": 0, "backoff": 0.0, "max_bytes": 1_000_000}


def fetch(web: Web, path: str, **changes) -> bytes:
    url = path if "://" in path else web.url(path)
    config = DownloadConfig(**QUICK | changes)

    async def run() -> bytes:
        async with session(config, ALLOW) as client:
            return await download(url, client, hosts(), config, ALLOW)

    return asyncio.run(run())


def reason(web: Web, path: str, **changes) -> str:
    with pytest.raises(Failure) as caught:
        fetch(web, path, **changes)
    return str(caught.value)


def test_a_good_server_gives_the_bytes_as_they_are(web):
    assert fetch(web, "/jpeg") == JPEG
    assert fetch(web, "/image/4") == png(4)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/missing", "http_404: Not Found"),
        ("/broken", "http_503: Service Unavailable"),
        ("/strange", "http_799: a status without a name"),
        ("/not-modified", "http_304: Not Modified"),
        ("/to-nothing", "http_302: Found"),
        ("/slow-header", "timed_out: "),
        ("/slow-body", "timed_out: "),
        ("/dripping", "timed_out: "),
        ("/endless", "too_many_bytes: over 1000000"),
        ("/declares-much", "too_many_bytes: 99999999 is over 1000000"),
        ("/bomb", "too_many_bytes: over 1000000"),
        ("/truncated", "bad_response: the body ends too early"),
        ("/declares-little", "bad_response: not HTTP"),
        ("/declares-nonsense", "bad_response: not HTTP"),
        ("/declares-twice", "bad_response: not HTTP"),
        ("/half-gzip", "bad_response: the body ends too early"),
        ("/false-gzip", "bad_response: the body cannot be unpacked"),
        ("/brotli", "bad_response: a content encoding that was not asked for"),
        ("/loop", "too_many_redirects: more than 5"),
        ("/to-file", "bad_url: the scheme is file"),
        ("/to-garbage", "bad_url: "),
        ("/to-metadata", "refused_address: 169.254.169.254 is link-local"),
        ("/to-disguise", "refused_address: 0x7f000001 is an address in disguise"),
        ("/reset", "connection_failed: connection reset by peer"),
        ("/closes", "connection_failed: closed without an answer"),
        ("/huge-header", "bad_response: not HTTP"),
        ("/many-headers", "bad_response: not HTTP"),
        ("/not-http", "bad_response: not HTTP"),
    ],
)
def test_a_bad_server_gives_a_reason_soon(web, path, wanted):
    timeout = 0.5 if wanted.startswith("timed_out") else 10
    begin = time.monotonic()
    assert reason(web, path, timeout=timeout).startswith(wanted)
    assert time.monotonic() - begin < 4


def test_a_compressed_body_is_unpacked(web):
    assert fetch(web, "/gzip") == JPEG


def test_a_bomb_is_given_up_before_it_fills_memory(web):
    tracemalloc.start()
    reason(web, "/bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # 50 MB unpacked


def test_nobody_listening_is_a_failed_connection(web):
    with Web() as gone:
        pass
    assert reason(web, gone.url("/image")) == "connection_failed: connection refused"


def test_a_redirect_is_followed(web):
    assert fetch(web, "/to-image") == png(7)
    assert reason(web, "/to-image", max_redirects=0).startswith("too_many_redirects")


def test_a_redirect_to_a_neighbour_is_refused_and_the_neighbour_sees_nothing(web):
    for number, host in enumerate(("127.0.0.2", "[::ffff:7f00:2]")):
        web.routes[f"/to-neighbour-{number}"] = moved(web.url("/jpeg", host))
        wanted = "refused_address: 127.0.0.2 is loopback"
        assert reason(web, f"/to-neighbour-{number}") == wanted
    assert {request.address for request in web.requests} == {"127.0.0.1"}


def test_an_error_that_may_pass_is_tried_again(web):
    assert fetch(web, "/broken-once", retries=1) == png(0)
    assert web.asked("/broken-once") == 2
    assert reason(web, "/broken", retries=2).startswith("http_503")
    assert web.asked("/broken") == 3


@pytest.mark.parametrize(("path", "asked"), [("/missing", 1), ("/reset", 3), ("/truncated", 3)])
def test_only_what_may_pass_is_tried_again(web, path, asked):
    reason(web, path, retries=2)
    assert web.asked(path) == asked


def test_retries_wait_twice_as_long_each_time(web):
    reason(web, "/broken", retries=2, backoff=0.1)
    first, second, third = (request.at for request in web.requests)
    assert second - first >= 0.1
    assert third - second >= 0.2
    assert third - first < 3


def test_retry_after_is_honoured(web):
    assert fetch(web, "/busy-once", retries=1) == png(0)
    first, second = (request.at for request in web.requests)
    assert 1.0 <= second - first < 5.0


def test_retry_after_is_honoured_up_to_a_cap(web, monkeypatch):
    monkeypatch.setattr("pipeline.fetch.download.MAX_PAUSE", 0.2)
    assert reason(web, "/busy-for-hours", retries=1).startswith("http_429")
    assert web.asked("/busy-for-hours") == 2


def test_retry_after_may_be_a_date_or_nonsense(web):
    for number, told in enumerate(("Fri, 01 Jan 2010 00:00:00 GMT", "soon", "-5", "1e9", "²")):
        path = f"/late-{number}x"
        web.routes[path] = sends(http(b"", f"Retry-After: {told}", status="429 Slow down"))
        assert reason(web, path, retries=1).startswith("http_429")
        assert web.asked(path) == 2


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("noai", False),
        ("NoAI", False),
        ("all, noimageai", False),
        ("noindex", False),
        ("noimageindex", False),
        ("bot: noai", False),
        ("BOT: nofollow, noai", False),
        ("otherbot: noai", True),
        ("otherbot: noai, bot: noimageai", False),
        ("max-snippet: 50, noai", False),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", True),
        ("*: noai", False),
        ("nofollow", True),
        ("", True),
        (":,:,::noai", True),
    ],
)
def test_x_robots_tag_is_obeyed(web, header, kept):
    web.routes["/tagged"] = sends(http(JPEG, "X-Robots-Tag: all", f"X-Robots-Tag: {header}"))
    if kept:
        assert fetch(web, "/tagged", user_agent="bot/1.0 (+http://bot.test)") == JPEG
    else:
        message = reason(web, "/tagged", user_agent="bot/1.0 (+http://bot.test)")
        assert message.startswith("opted_out: X-Robots-Tag no")


def test_x_robots_tag_is_ignored_where_the_config_says_so(web):
    web.routes["/tagged"] = sends(http(JPEG, "X-Robots-Tag: noai"))
    assert fetch(web, "/tagged", opt_out=()) == JPEG


def test_the_request_says_who_asks_and_carries_nothing_else(web, monkeypatch):
    monkeypatch.setenv("http_proxy", web.url("/proxy", "127.0.0.2"))
    monkeypatch.setenv("HTTP_PROXY", web.url("/proxy", "127.0.0.2"))

    async def run() -> None:
        config = DownloadConfig(**QUICK, user_agent="bot/1.0")
        async with session(config, ALLOW) as client:
            for _ in range(2):
                await download(web.url("/cookie"), client, hosts(), config, ALLOW)

    asyncio.run(run())
    for request in web.requests:
        assert request.address == "127.0.0.1"
        assert request.headers["user-agent"] == "bot/1.0"
        assert request.headers["accept-encoding"] == "identity"
        assert not {"cookie", "authorization", "referer"} & set(request.headers)


def test_credentials_are_sent_to_their_host_and_stand_in_no_reason(web):
    url = web.url("/missing").replace("://", "://me:hunter2@") + "?token=hunter2"
    assert "hunter2" not in reason(web, url)
    sent = web.requests[0].headers["authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"me:hunter2"


def test_credentials_do_not_follow_a_redirect_to_another_place(web):
    web.routes["/away"] = moved(f"http://127.0.0.1:{web.port}/jpeg")
    assert fetch(web, web.url("/away").replace("://", "://me:hunter2@")) == JPEG
    assert "authorization" not in web.requests[1].headers


def test_a_body_may_be_exactly_as_long_as_the_limit(web):
    assert fetch(web, "/big", max_bytes=len(BIG)) == BIG
    assert reason(web, "/big", max_bytes=len(BIG) - 1).startswith("too_many_bytes")
    assert fetch(web, "/gzip", max_bytes=len(JPEG))[:2] == b"\xff\xd8"


def test_random_bytes_are_a_bad_response_or_a_closed_connection(web):
    for number in range(20):
        web.routes[f"/noise-{number}x"] = sends(os.urandom(300) + b"\r\n\r\n")
        assert reason(web, f"/noise-{number}x").partition(":")[0] in (
            "bad_response",
            "connection_failed",
            "timed_out",
        )
