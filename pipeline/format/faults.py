"""What a store's client raised, told in one line: as missing, forbidden, a mistake, or bad luck."""

import errno

from pipeline.format import address
from pipeline.format.errors import HeadraceError, Unavailable

MISSING, REFUSED = (404, 410), (401, 403)

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
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or (is_of_a_store(error) and status in MISSING):
        return HeadraceError(f"{name}: no such file; check the path")
    if not (isinstance(error, OSError) or is_of_a_store(error)):
        return None
    if isinstance(error, PermissionError) or status in REFUSED or _is(error, NO_CREDENTIALS):
        return HeadraceError(f"{name}: reading is not allowed; check the credentials or file mode")
    final = getattr(error, "errno", None) in FINAL or _is(error, MISTAKES)
    final = final or isinstance(error, IsADirectoryError | NotADirectoryError)
    kind = HeadraceError if final else Unavailable
    return kind(f"{name}: the store cannot be read: {reason(error)}")


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
    words = getattr(error, "strerror", None) or str(error) or "no answer in time"
    return address.redact_words(" ".join(str(words).split()))


def is_of_a_store(error: Exception) -> bool:
    """Whether a store's client library raised it; theirs have no base class to name here."""
    return type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp")
