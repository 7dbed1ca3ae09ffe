"""What names a file: fsspec URLs everywhere; a plain path is a local file."""

import os
import re

from pipeline.format.errors import HeadraceError

_USER = re.compile(r"(?<=://)[^/]*@")


def absolute(url: str) -> str:
    """The canonical form of a URL: a plain path becomes `file:///…`, a trailing slash goes.

    Raises HeadraceError if the URL carries a password or key: those belong in the environment,
    where no log, manifest or ledger can repeat them.
    """
    if "://" not in url:
        return f"file://{os.path.abspath(os.path.expanduser(url))}"
    if redact(url) != url:
        raise HeadraceError(
            f"{redact(url)}: the URL carries credentials; put them in the environment "
            "(AWS_ACCESS_KEY_ID, a profile, a token file) and leave the URL plain"
        )
    return url.rstrip("/")


def redact(url: str) -> str:
    """The URL without user, password and signed query: what may be logged and recorded.

    A local path may hold any sign, and a `?` without `=` is a glob.
    """
    if "://" not in url or url.startswith("file://"):
        return url
    address, sign, query = url.partition("?")
    return _USER.sub("", address) + ("" if "=" in query else sign + query)


def join(url: str, *names: str) -> str:
    """`url` with path components added."""
    return "/".join([url.rstrip("/"), *names])
