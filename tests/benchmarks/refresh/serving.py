"""A web server for a folder, which counts the bytes of tars that anyone has got from it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Served(ThreadingHTTPServer):
    """Lists and sends files, whole or by ranges, to all processes of a job."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.nbytes, self.lock = 0, threading.Lock()

    @property
    def url(self) -> str:
        """Of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".tar" or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        start, stop = _range(self.headers.get("Range"), size)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(stop - start)
        with self.server.lock:
            self.server.nbytes += len(data)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the count is what is wanted."""


def _range(header: str | None, size: int) -> tuple[int, int]:
    """The first byte that is asked for, and the one behind the last."""
    if not header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), min(size, int(last) + 1 if last else size)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """The server, while the block runs."""
    server = Served(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
