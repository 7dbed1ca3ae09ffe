"""The command that deletes what no snapshot needs, and proves what is gone."""

from typing import Annotated

import typer

from jobs.commands.app import Workers, app

SHOWN = 20
"""Hits that are printed, the first ones."""


@app.command()
def prune(
    dataset: Annotated[str, typer.Argument(help="A dataset.")],
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Retire all snapshots but the newest N of the chain."
        ),
    ] = None,
    retire: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Retire this one, even if a run pins it; may be repeated."),
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Forget the pins of a run that is over; may be repeated."),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Do it; else it is only listed.")
    ] = False,
    prove: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG", help="Show that nothing its decide.lists.deny names is in a shard."
        ),
    ] = None,
    unfinished_after: Annotated[
        float,
        typer.Option(
            min=0, metavar="HOURS", help="Age at which unpublished files are left behind."
        ),
    ] = 24,
    workers: Workers = None,
) -> None:
    """Deletes shards that no kept snapshot has; a dry run without --delete.

    With --prove, every sample that is left is read, and the command exits with 1 if one is listed.
    """
    from jobs import prune
    from pipeline.format import pins

    for run in release or ():
        for pin in pins.release(dataset, run):
            typer.echo(f"released  {pin.snapshot}  {pin.run}")
    if delete or keep or retire or not prove:
        found = prune.look(dataset, keep, retire or (), unfinished_after)
        typer.echo("\n".join(prune.lines(found)))
        if delete:
            prune.delete(found)
        else:
            typer.echo("nothing was done: --delete does it")
    if prove:
        _prove(dataset, prove, workers)


def _prove(dataset: str, config: str, workers: int | None) -> None:
    from jobs import prove
    from jobs.config import CurateConfig, load

    proof = prove.run(dataset, load(config, CurateConfig).decide.lists, workers)
    for hit in proof.hits[:SHOWN]:
        typer.echo(f"{hit.shard}: {hit.key}: {hit.entry} is in {hit.listed}")
    typer.echo(
        f"read {proof.tars:,} tars, {proof.samples:,} samples, {proof.nbytes:,} bytes: "
        + (f"{len(proof.hits):,} are listed" if proof.hits else "none is listed")
    )
    raise typer.Exit(1 if proof.hits else 0)
