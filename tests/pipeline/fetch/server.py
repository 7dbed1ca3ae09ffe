"""A web that misbehaves: real HTTP servers on 127.0.0.1 and 127.0.0.2, spoken to by raw bytes."""

import asyncio
import gzip
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.fetch.polite import Hosts, PoliteConfig
from tests.pipeline.making import encode, picture, png

ALLOWED = ["127.0.0.1/32"]
"""What tests let headrace talk to: 127.0.0.2 is a neighbour that it must not."""


@dataclass
class Request:
    """What a client sent, and how often it asked for the same before."""

    address: str
    path: str
    headers: dict[str, str]
    count: int
    at: float

    @property
    def number(self) -> int:
        """The digits at the end of the path: which picture is meant."""
        return int("".join(c for c in self.path if c.isdigit()) or 0)


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def sends(*parts: bytes | float) -> Answer:
    """Bytes to send and seconds to wait, one after the other."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)

    return answer


def then(*answers: Answer) -> Answer:
    """One answer for the first request, another for the next; the last for all others."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await answers[min(request.count, len(answers) - 1)](request, writer)

    return answer


def moved(location: str, status: str = "302 Found") -> Answer:
    return sends(http(b"", f"Location: {location}", status=status))


async def image(request: Request, writer: asyncio.StreamWriter) -> None:
    """A picture of the number in the path."""
    writer.write(http(png(request.number), "Content-Type: image/png"))


async def slow_image(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.05)
    await image(request, writer)


async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(http(b"", "Content-Type: image/png", length=False))
    while not writer.is_closing():
        writer.write(bytes(1 << 16))
        await writer.drain()


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST, in the middle of a header."""
    import socket
    import struct

    writer.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await writer.drain()
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


JPEG = encode(picture(1), "JPEG")
BIG = encode(picture(2, 900, 600), "JPEG")
BOMB = gzip.compress(bytes(50_000_000))
PAGE = b"<!DOCTYPE html><html>not an image</html>"

ROUTES: dict[str, Answer] = {
    "/image": image,
    "/slow-image": slow_image,
    "/jpeg": sends(http(JPEG)),
    "/big": sends(http(BIG)),
    "/page": sends(http(PAGE, "Content-Type: image/jpeg")),
    "/empty": sends(http(b"")),
    "/missing": sends(http(b"", "X-Robots-Tag: noindex", status="404 Not Found")),
    "/broken-once": then(sends(http(b"", status="500 Oops")), image),
    "/broken": sends(http(b"", status="503 Later")),
    "/busy-once": then(sends(http(b"", "Retry-After: 1", status="429 Slow down")), image),
    "/busy-for-hours": sends(http(b"", "Retry-After: 7200", status="429 Slow down")),
    "/strange": sends(http(b"", status="799 Whatever")),
    "/not-modified": sends(http(b"", status="304 Not Modified")),
    "/slow-header": sends(b"HTTP/1.1 200 OK\r\n", 5.0),
    "/slow-body": sends(http(JPEG)[:-50], 5.0),
    "/dripping": sends(http(bytes(100))[:-90], *[0.2, b"x"] * 20),
    "/endless": endless,
    "/declares-much": sends(http(b"x", "Content-Length: 99999999", length=False), 5.0),
    "/truncated": sends(http(JPEG)[:-50]),
    "/half-jpeg": sends(http(JPEG[: len(JPEG) // 2])),
    "/declares-little": sends(http(JPEG, "Content-Length: 100", length=False)),
    "/declares-nonsense": sends(http(JPEG, "Content-Length: -5", length=False)),
    "/declares-twice": sends(http(JPEG, "Content-Length: 10")),
    "/bomb": sends(http(BOMB, "Content-Encoding: gzip")),
    "/gzip": sends(http(gzip.compress(JPEG), "Content-Encoding: gzip")),
    "/half-gzip": sends(http(gzip.compress(JPEG)[:-40], "Content-Encoding: gzip")),
    "/false-gzip": sends(http(JPEG, "Content-Encoding: gzip")),
    "/brotli": sends(http(JPEG, "Content-Encoding: br")),
    "/loop": moved("/loop"),
    "/to-image": moved("/image/7", "301 Moved Permanently"),
    "/to-file": moved("file:///etc/passwd"),
    "/to-nothing": sends(http(b"", status="302 Found")),
    "/to-garbage": moved("http://[::"),
    "/to-metadata": moved("http://169.254.169.254/latest/meta-data/"),
    "/to-disguise": moved("http://0x7f000001/"),
    "/reset": reset,
    "/closes": sends(),
    "/huge-header": sends(http(JPEG, "X-Filler: " + "x" * 200_000)),
    "/many-headers": sends(http(JPEG, *["X-Filler: x"] * 10_000)),
    "/not-http": sends(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "/cookie": sends(http(JPEG, "Set-Cookie: seen=1; Path=/")),
}


@dataclass
class Web:
    """The servers, and what they saw."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    peak: int = 0
    """The most requests that were open at the same time."""
    routes: dict[str, Answer] = field(default_factory=lambda: dict(ROUTES))
    seen: Counter[str] = field(default_factory=Counter)
    open: int = 0
    tls: ssl.SSLContext | None = None
    """The certificate to show: without one, it is not encrypted."""

    def __enter__(self) -> "Web":
        ready = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=[self._run(ready)], daemon=True)
        self.thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http{'s' if self.tls else ''}://{host}:{self.port}{path}"

    def asked(self, path: str) -> int:
        """How often a path was requested."""
        return self.seen[path]

    async def _run(self, ready: threading.Event) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.loop.set_exception_handler(lambda *_: None)  # clients that hang up are expected
        first = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = first.sockets[0].getsockname()[1]
        other = await asyncio.start_server(self._serve, "127.0.0.2", self.port)
        ready.set()
        await self.stop.wait()
        first.close()
        other.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = urlsplit(head[0].split(" ")[1]).path
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:])}
        address = writer.get_extra_info("sockname")[0]
        request = Request(address, path, headers, self.seen[path], time.monotonic())
        self.requests.append(request)
        self.seen[path] += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            route = self.routes.get(path) or self.routes.get(path.rstrip("0123456789/"))
            await (route or ROUTES["/missing"])(request, writer)
        finally:
            self.open -= 1
            writer.close()


def hosts(**fields: float) -> Hosts:
    """Turns for one process."""
    return Hosts(PoliteConfig(**fields), lease=30)
