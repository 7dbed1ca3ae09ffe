"""An HTTP proxy before a server on this machine, which misbehaves as a script says."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UNAVAILABLE, FORBIDDEN = "unavailable", "forbidden"
"""Answers of 503 and 403."""
RESET, TRUNCATED = "reset", "truncated"
"""The length of the whole body, and half of it; then the line is cut, or closed as usual."""
SLOW, SILENT = "slow", "silent"
"""Ten bytes a second, or none at all, for a minute."""
WHOLE, ELSEWHERE = "whole", "elsewhere"
"""The whole object with 200, or another range of the same length."""

ERRORS = {UNAVAILABLE: (503, "ServiceUnavailable"), FORBIDDEN: (403, "AccessDenied")}
ERROR = "<Error><Code>{}</Code><Message>The proxy does not like it.</Message></Error>"
HOP = {"connection", "content-length", "transfer-encoding", "date", "server"}


class Proxy(ThreadingHTTPServer):
    """Passes on what it is asked, but for reads of ranges that the script names."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind, self.lock = behind, threading.Lock()
        self.follow({})

    def follow(self, script: Mapping[int, str]) -> None:
        """Faults by the number of the read, which is counted from 0 on now."""
        with self.lock:
            self.script, self.reads, self.told = script, 0, list[str]()

    def next_fault(self) -> str | None:
        """That of one more read."""
        with self.lock:
            fault = self.script.get(self.reads)
            self.reads += 1
            self.told += [fault] if fault else []
            return fault

    def shutdown_request(self, request) -> None:
        """Without the polite farewell that would go before a reset."""
        self.close_request(request)

    def handle_error(self, request, client_address) -> None:
        """Clients that go away are no news here."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        """Every method is the same."""
        asked = self.headers.get("Range")
        is_read = self.command == "GET" and asked
        fault = self.server.next_fault() if is_read else None
        if fault == SILENT:
            time.sleep(60)
        if fault in ERRORS:
            status, code = ERRORS[fault]
            self._say(status, {}, ERROR.format(code).encode())
            return
        headers = dict(self.headers)
        if fault == WHOLE:
            del headers["Range"]
        if fault == ELSEWHERE:
            headers["Range"] = moved(asked)
        self._say(*self._fetch(headers), fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _fetch(self, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        with contextlib.closing(line):
            line.request(self.command, self.path, body, headers)
            answer = line.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _say(
        self, status: int, headers: dict[str, str], body: bytes, fault: str | None = None
    ) -> None:
        length = headers.get("Content-Length") if self.command == "HEAD" else len(body)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if fault in (RESET, TRUNCATED):
            self.wfile.write(body[: len(body) // 2])
            self._hang_up(fault == RESET)
        elif fault == SLOW:
            self._drip(body)
        else:
            self.wfile.write(body)

    def _hang_up(self, rudely: bool) -> None:
        if rudely:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def _drip(self, body: bytes) -> None:
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(0.1)

    def log_message(self, *args) -> None:
        """Nothing: the tests say what matters."""


def moved(range_: str) -> str:
    """The range one block of a tar further, or before where that is possible."""
    first, last = (int(number) for number in range_.removeprefix("bytes=").split("-"))
    by = -512 if first else 512
    return f"bytes={first + by}-{last + by}"


@contextlib.contextmanager
def before(port: int) -> Iterator[Proxy]:
    """A proxy before a port of this machine, gone with the block."""
    with Proxy(port) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
