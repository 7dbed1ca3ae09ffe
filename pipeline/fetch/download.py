"""One URL to its bytes, or the reason why not. Whatever a server does, it ends in bounded time and
memory.
"""

import asyncio
import contextlib
import email.utils
import os
import socket
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import Field
from yarl import URL

from pipeline.fetch.address import JudgedResolver, Networks, judged_socket, parse
from pipeline.fetch.failure import Failure
from pipeline.fetch.polite import Turns
from pipeline.fetch.robots import opted_out
from pipeline.settings import Settings

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK = 1 << 16
MAX_PAUSE = 120.0
"""Seconds: a longer Retry-After is shortened to this."""


class DownloadConfig(Settings):
    """How a URL is asked for."""

    at_once: int = Field(default=64, gt=0)
    """Requests at the same time in one task; a task holds at most so many bodies in memory."""

    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one request, from the look-up of the name to the last byte."""

    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds for the connection alone."""

    max_bytes: int = Field(default=20_000_000, gt=0)
    """Longer bodies are given up, as soon as it shows."""

    max_redirects: int = Field(default=5, ge=0)
    """Redirects that are followed; each target is judged as if it stood in the list."""

    retries: int = Field(default=2, ge=0)
    """Further attempts after a timeout, a broken connection, 429 or 5xx."""

    backoff: float = Field(default=1.0, ge=0)
    """Seconds before the first retry; they double each time. A Retry-After is honoured above."""

    user_agent: str = Field(default="headrace/0.1", pattern=r"^[!-~][ -~]*$")
    """Who asks: the name before the slash is the one that X-Robots-Tag may address."""

    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex")
    """X-Robots-Tag directives by which an image is left alone; img2dataset's."""


def session(
    config: DownloadConfig, allow: Networks, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """A session that connects to judged addresses only, keeps no cookie and knows no proxy.

    Bodies come as they were sent: `_body` decodes them, within its limit.
    """
    connector = aiohttp.TCPConnector(
        limit=config.at_once,
        force_close=True,  # a list names many hosts, and a kept connection fails when it went stale
        resolver=JudgedResolver(resolver or aiohttp.ThreadedResolver(), allow),
        socket_factory=judged_socket(allow),
    )
    client = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=config.timeout, sock_connect=config.connect_timeout),
        headers={
            "User-Agent": config.user_agent,
            "Accept": "image/*, */*;q=0.1",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        trust_env=False,
    )
    client._retry_connection = False  # or a broken connection is asked twice in the host's one turn
    return client


async def download(
    text: object,
    client: aiohttp.ClientSession,
    turns: Turns,
    config: DownloadConfig,
    allow: Networks,
) -> bytes:
    """The bytes behind a URL, retried where that may help. Raises Failure."""
    for attempt in range(config.retries + 1):
        try:
            return await _follow(parse(text, allow), client, turns, config, allow)
        except Failure as failure:
            if not failure.passing or attempt == config.retries:
                raise
            await asyncio.sleep(max(failure.pause, config.backoff * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


async def _follow(
    url: URL, client: aiohttp.ClientSession, turns: Turns, config: DownloadConfig, allow: Networks
) -> bytes:
    for _ in range(config.max_redirects + 1):
        answer = await _ask(url, client, turns, config)
        if isinstance(answer, bytes):
            return answer
        url = parse(_target(url, answer), allow)
    raise Failure("too_many_redirects", f"more than {config.max_redirects}")


def _target(url: URL, location: str) -> str:
    try:
        return str(url.join(URL(location)))
    except (ValueError, TypeError) as error:
        raise Failure("bad_url", "a redirect that cannot be parsed") from error


async def _ask(
    url: URL, client: aiohttp.ClientSession, turns: Turns, config: DownloadConfig
) -> bytes | str:
    """One request, in the host's turn: the body, or where it redirects to."""
    host = url.raw_host or ""
    ticket = await turns.enter(host)
    pause = 0.0
    try:
        with _named():
            async with client.get(url, allow_redirects=False) as response:
                return await _answer(response, config)
    except Failure as failure:
        pause = failure.pause
        raise
    finally:
        await turns.leave(host, ticket, pause)


async def _answer(response: aiohttp.ClientResponse, config: DownloadConfig) -> bytes | str:
    if response.status in REDIRECTS and (location := response.headers.get("Location")):
        return location
    if response.status != 200:
        raise _refusal(response.status, response.headers.get("Retry-After", ""))
    tags = response.headers.getall("X-Robots-Tag", [])
    if directive := opted_out(tags, config.user_agent, config.opt_out):
        raise Failure("opted_out", f"X-Robots-Tag {directive}")
    return await _body(response, config.max_bytes)


def _refusal(status: int, retry_after: str) -> Failure:
    known = status in HTTPStatus._value2member_map_
    words = HTTPStatus(status).phrase if known else "a status without a name"
    pause = _seconds(retry_after) if status in (429, 503) else 0.0
    return Failure(f"http_{status}", words, passing=status == 429 or status >= 500, pause=pause)


def _seconds(retry_after: str) -> float:
    """What a Retry-After header asks for, as seconds or as a date; 0 if it makes no sense."""
    try:
        if retry_after.strip().isdecimal():
            wait = float(retry_after[:10])
        else:
            until = email.utils.parsedate_to_datetime(retry_after)
            wait = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), MAX_PAUSE)


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The decoded body. Neither what is sent nor what it unpacks to may pass the limit."""
    if (response.content_length or 0) > limit:
        raise Failure("too_many_bytes", f"{response.content_length} is over {limit}")
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Failure("bad_response", "a content encoding that was not asked for")
    unpacker = zlib.decompressobj(47) if coding not in ("", "identity") else None  # gzip or zlib
    body, sent = bytearray(), 0
    async for chunk in response.content.iter_chunked(CHUNK):
        sent += len(chunk)
        body += unpacker.decompress(chunk, limit - len(body) + 1) if unpacker else chunk
        if max(sent, len(body)) > limit:
            raise Failure("too_many_bytes", f"over {limit}")
    if unpacker and not unpacker.eof:
        raise Failure("bad_response", "the body ends too early", passing=True)
    return bytes(body)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Turns whatever a request raises into a Failure, which repeats nothing of the URL."""
    try:
        yield
    except (Failure, asyncio.CancelledError):
        raise
    except TimeoutError as error:
        raise Failure("timed_out", "no whole answer in time", passing=True) from error
    except aiohttp.ClientConnectorDNSError as error:
        passing = error.os_error.errno == socket.EAI_AGAIN
        raise Failure("unknown_host", "its name has no address", passing) from error
    except aiohttp.ClientSSLError as error:
        raise Failure("tls_failed", "no trusted certificate, or no common protocol") from error
    except aiohttp.ClientPayloadError as error:
        raise Failure("bad_response", "the body ends too early", passing=True) from error
    except (aiohttp.ClientConnectionError, OSError) as error:
        number = error.errno if isinstance(error, OSError) else None
        words = os.strerror(number).lower() if number else "closed without an answer"
        raise Failure("connection_failed", words, passing=True) from error
    except zlib.error as error:
        raise Failure("bad_response", "the body cannot be unpacked") from error
    except (aiohttp.InvalidURL, UnicodeError) as error:
        raise Failure("bad_url", "cannot be asked for") from error
    except Exception as error:  # parsers of a stranger's bytes raise anything
        raise Failure("bad_response", f"not HTTP: {type(error).__name__}") from error
