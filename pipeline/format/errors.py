"""The one error that a person is meant to read."""


class HeadraceError(Exception):
    """Something a user can mend: the message names the file or field, and the fix.

    Commands print it on one line and exit with a non-zero code; every other exception is a bug
    and keeps its traceback.
    """

    code = 1
    """Exit code of a command that ends with it."""


class Unavailable(HeadraceError):
    """A store did not answer as it should: trying again may help."""
