"""Commands that look after a dataset: what is in it, what changed, whether it is whole."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.commands.app import Workers, app

Whole = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset: a folder or a URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")]


@app.command()
def snapshots(dataset: Whole, as_json: AsJson = False) -> None:
    """Lists what was published: the newest first, with what each keeps, drops and shares."""
    from jobs import snapshots

    entries = snapshots.run(dataset)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in entries]))
        return
    typer.echo("\n".join(snapshots.lines(entries)))


@app.command()
def diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="<dataset>/snapshots/<id>; a dataset's newest.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="Another, usually a later one.")],
    as_json: AsJson = False,
) -> None:
    """Explains what B has that A has not: images by reason, shards, settings, versions."""
    from jobs import diff

    found = diff.run(one, other)
    typer.echo(json.dumps(diff.facts(found)) if as_json else "\n".join(diff.lines(found)))


@app.command()
def verify(dataset: Whole, workers: Workers = None) -> None:
    """Reads every shard, index and plan again; names what is damaged, and exits with 1 then."""
    from jobs import verify

    checked = verify.run(dataset, workers, typer.echo)
    typer.echo(verify.summary(checked))
    raise typer.Exit(1 if checked.damages else 0)
