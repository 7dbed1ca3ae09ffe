"""The one sentence about a model that cannot be had."""

from pickle import UnpicklingError

from pipeline.format.address import redact_words
from pipeline.format.errors import HeadraceError

CODE = "its checkpoint is no file of weights alone; what else is in it could run code"

UNSAFE = ("weights_only", "allow_pickle")
"""Options that torch and numpy advise to set in order to run such code."""


def refusal(field: str, model: str, why: str) -> HeadraceError:
    """One line: which field of the config, which model, and why it cannot be loaded.

    `why` may hold what a library said, with a mirror's URL and the password in it: that goes.
    """
    line = redact_words(" ".join(why.split()))[:400]
    return HeadraceError(f"{field} {model!r} cannot be loaded: {line}")


def reason(error: Exception) -> str:
    """What a library's error says of a stranger's file, which makes it raise anything."""
    if isinstance(error, UnpicklingError) or any(word in str(error) for word in UNSAFE):
        return CODE
    if isinstance(error, KeyError):
        return f"its config has no field {error}"
    return str(error) if " " in str(error) else f"{type(error).__name__}: {error}"
