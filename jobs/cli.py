"""The `headrace` command: each job a subcommand, each error one line that says what to do."""

import sys

from jobs.commands import (
    curating,
    evaluating,
    filtering,
    keeping,
    looking,
    pruning,
    streaming,
    studying,
    submitting,
    training,
)
from jobs.commands.app import app
from pipeline.format.errors import HeadraceError

COMMANDS = (
    looking,
    curating,
    keeping,
    pruning,
    training,
    streaming,
    filtering,
    evaluating,
    studying,
    submitting,
)
"""The modules that hang their commands on `app` as they are imported, in the order of the help."""


def main() -> None:
    """Entry point: a HeadraceError is one message and its exit code, never a traceback."""
    try:
        app()
    except HeadraceError as error:
        sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
        sys.exit(error.code)
