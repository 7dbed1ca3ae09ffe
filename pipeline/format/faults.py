"""What a store's client raised, told in one line: as missing, forbidden, a mistake, or bad luck."""

import errno
from typing import Any

from pipeline.format import address
from pipeline.format.errors import HeadraceError, Unavailable

MISSING, REFUSED, NEVER = (404, 410), (401, 403), (405, 501)

OVERTAKEN = 412
"""Another one wrote first: the condition of a conditional put no longer holds."""

NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError"}

MISTAKES = {
    "ConfigNotFound",
    "ConfigParseError",
    "InvalidURL",
    "LoginError",
    "NoAuthTokenError",
    "ParamValidationError",
    "ProfileNotFound",
    "SSOError",
    "TokenRetrievalError",
}
"""Errors of botocore and aiohttp, by name, that are the same however often one asks."""

FINAL = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


def failure(url: str, error: Exception) -> HeadraceError | None:
    """What to raise for what was raised while `url` was read; None for what no store raised.

    Unavailable if trying again may help, else plain HeadraceError.
    """
    error, name = _behind(error), address.redact(url)
    if is_missing(error):
        return HeadraceError(f"{name}: no such file; check the path")
    if not (isinstance(error, OSError) or is_of_a_store(error)):
        return None
    if _is_refused(error):
        return HeadraceError(f"{name}: reading is not allowed; check the credentials or file mode")
    kind = HeadraceError if _is_final(error) else Unavailable
    return kind(f"{name}: the store cannot be read: {reason(error)}")


def is_missing(error: Exception) -> bool:
    """Whether a store says that a file is not there."""
    error = _behind(error)
    gone = is_of_a_store(error) and status(error) in MISSING
    return gone or isinstance(error, FileNotFoundError)


def refusal(url: str, error: Exception, done: str) -> HeadraceError | None:
    """The same for what was raised while `url` was changed: it was not `done` ("written").

    What is missing then is part of an upload, and comes with another try; a bucket does not.
    """
    error, name = _behind(error), f"{address.redact(url)}: not {done}"
    if not (isinstance(error, OSError | NotImplementedError) or is_of_a_store(error)):
        return None
    if _is_refused(error):
        return HeadraceError(
            f"{name}: it is not allowed; check the credentials and what they permit"
        )
    if _answer(error).get("Error", {}).get("Code") == "NoSuchBucket":
        return HeadraceError(f"{name}: there is no such bucket; make it, or check its name")
    final = _is_final(error) or status(error) in NEVER
    return (HeadraceError if final else Unavailable)(f"{name}: {reason(error)}")


def _is_refused(error: Exception) -> bool:
    refused = isinstance(error, PermissionError) or _is(error, NO_CREDENTIALS)
    return refused or status(error) in REFUSED


def _is_final(error: Exception) -> bool:
    final = getattr(error, "errno", None) in FINAL or _is(error, MISTAKES)
    return final or isinstance(error, IsADirectoryError | NotADirectoryError | NotImplementedError)


def _behind(error: Exception) -> Exception:
    """The client's own error: fsspec's web store calls each a missing file, s3fs some a value."""
    cause = error.__cause__
    if not isinstance(cause, Exception):
        return error
    if isinstance(error, FileNotFoundError):
        web = type(cause).__module__.startswith("aiohttp")
        return cause if web or isinstance(cause, TimeoutError | ConnectionError) else error
    return cause if isinstance(error, ValueError) and is_of_a_store(cause) else error


def _is(error: Exception, names: set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def reason(error: Exception) -> str:
    """The error's words on one line, without credentials and signatures of URLs."""
    said = _answer(error).get("Error", {})  # of which Ceph gives no more than the code
    words = getattr(error, "strerror", None) or said.get("Message") or said.get("Code")
    words = words or str(error) or "no answer in time"
    return address.redact_words(" ".join(str(words).split()))


def status(error: Exception) -> int | None:
    """The HTTP status that a store refused with, by what its client or s3fs raised."""
    found = _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found or getattr(error, "status", None)


def _answer(error: BaseException) -> dict[str, Any]:
    """What botocore read of an answer that refuses. s3fs raises an error of its own from it."""
    for one in (error, error.__cause__):
        if isinstance(found := getattr(one, "response", None), dict):
            return found
    return {}


def is_of_a_store(error: Exception) -> bool:
    """Whether a store's client library raised it; theirs have no base class to name here."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
