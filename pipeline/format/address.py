"""What names a file: fsspec URLs everywhere; a plain path is a local file."""

import os
import re

from pipeline.format.errors import HeadraceError

_USER = re.compile(r"(?<=://)[^/]*@")
_SECRETS = re.compile(r"""(?<=://)[^/\s'"]*@|(?<![\s'"])\?[^\s'"]*=[^\s'"]*""")


def absolute(url: str) -> str:
    """The canonical form of a URL: a plain path becomes `file:///…`, a trailing slash goes.

    Raises HeadraceError if the URL carries a password or key: those belong in the environment,
    where no log, manifest or ledger can repeat them.
    """
    if "\0" in url:
        raise HeadraceError(f"{url!r}: no name holds a NUL; check the path")
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


def redact_words(words: str) -> str:
    """The same for what somebody else's message says, with URLs in it."""
    return _SECRETS.sub("", words)


def join(url: str, *names: str) -> str:
    """`url` with path components added."""
    return "/".join([url.rstrip("/"), *names])
