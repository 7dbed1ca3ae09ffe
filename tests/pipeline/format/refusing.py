"""An HTTP proxy before an S3 server, which misbehaves as a script says when it is to write."""

import contextlib
import threading
import time
from collections.abc import Iterator

from tests.trainer.stream import misbehaving

BUSY, BROKEN, SLOWER, FORBIDDEN = "busy", "broken", "slower", "forbidden"
"""Refusals, before anything is done."""
LOST = "lost"
"""It is done, and the line is cut before the answer."""
DEAF = "deaf"
"""The body is not read, for a minute."""
LITERAL = "literal"
"""A condition is compared as it is written, and with its quotes is never true: as of Ceph 16."""

ERRORS = {
    BUSY: (503, "ServiceUnavailable"),
    BROKEN: (500, "InternalError"),
    SLOWER: (503, "SlowDown"),
    FORBIDDEN: (403, "AccessDenied"),
    LITERAL: (412, "PreconditionFailed"),
}


class Handler(misbehaving.Handler):
    """One connection; what is asked that changes nothing is passed on."""

    def do_PUT(self) -> None:
        """POST and DELETE are the same."""
        fault = self.server.next_fault()
        if fault == LITERAL and '"' not in self.headers.get("If-Match", ""):
            fault = None
        if fault == DEAF:
            time.sleep(60)
        elif fault in ERRORS:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, code = ERRORS[fault]
            self._say(status, {}, misbehaving.ERROR.format(code).encode())
        elif fault == LOST:
            self._fetch(dict(self.headers))
            self._hang_up(rudely=True)
        else:
            self._say(*self._fetch(dict(self.headers)))

    do_POST = do_DELETE = do_PUT


@contextlib.contextmanager
def before(port: int) -> Iterator[misbehaving.Proxy]:
    """A proxy before a port of this machine, gone with the block. Its script counts writes."""
    with misbehaving.Proxy(port) as proxy:
        proxy.RequestHandlerClass = Handler
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
