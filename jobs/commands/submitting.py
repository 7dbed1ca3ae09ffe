"""The command that has another command run on a cluster."""

from typing import Annotated, Any

import typer

from jobs.commands.app import app
from pipeline.format.errors import HeadraceError


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    words: Annotated[
        list[str],
        typer.Argument(metavar="JOB CONFIG", help="A command of headrace, with its own options."),
    ],
    url: Annotated[
        str,
        typer.Option(
            "--address",
            metavar="URL",
            envvar="RAY_API_SERVER_ADDRESS",
            help="The dashboard of the cluster's head.",
        ),
    ] = "http://127.0.0.1:8265",
) -> None:
    """Runs a job on a Ray cluster: `headrace submit curate web.yaml --address http://HEAD:8265`.

    The code, the config and the files that it names travel along. Shows the job's log, and ends
    with its exit code; Ctrl-C leaves the job running.
    """
    from jobs import submit

    name, arguments = parsed(words)
    raise typer.Exit(submit.run(submit.job(name, words, arguments), url))


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The subcommand and its arguments by name; what is wrong with them is said as ever."""
    command: Any = typer.main.get_command(app)
    rest, names = list(words), list[str]()
    while hasattr(command, "commands"):
        names += rest[:1]
        command = command.commands.get(rest.pop(0) if rest else "")
    if command is None:
        raise HeadraceError(f"submit: {' '.join(names)}: headrace has no such command")
    name = " ".join(names)
    return name, command.make_context(f"headrace {name}", rest).params
