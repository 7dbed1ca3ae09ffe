"""Commands that show what a run is fed, and prove it."""

import json
from typing import Annotated

import typer

from jobs.commands.app import Config, app

stream_app = typer.Typer(no_args_is_help=True, help="What a run is fed: planned, and proven.")
app.add_typer(stream_app, name="stream")


@stream_app.command("plan")
def stream_plan(
    config: Config,
    steps: Annotated[int, typer.Option(min=1, help="Steps to show.")] = 10,
    first: Annotated[
        int | None,
        typer.Option("--from", min=0, help="First of them; the next of the run by default."),
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that share the memory.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Shows what a training config's next steps hold, without reading an image."""
    from jobs import stream
    from jobs.config import load
    from trainer.config import TrainConfig

    planned = stream.plan(load(config, TrainConfig), steps, first, ranks)
    typer.echo(json.dumps(planned) if as_json else "\n".join(stream.plan_lines(planned)))


@stream_app.command("verify")
def stream_verify(
    left: Annotated[str, typer.Argument(metavar="A", help="Folder of a training run.")],
    right: Annotated[str, typer.Argument(metavar="B", help="Folder of another.")],
) -> None:
    """Compares what two runs were fed; exits with 1 if it was not the same."""
    from jobs import stream

    same, lines = stream.verify(left, right)
    typer.echo("\n".join(lines))
    raise typer.Exit(0 if same else 1)
