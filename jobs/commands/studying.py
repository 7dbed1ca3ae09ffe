"""Commands that test the paper's claims: its ablations, and how loss falls with size."""

from typing import Annotated

import typer

from jobs.commands.app import Config, OnRay, Workers, app

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command()
def sweep(
    ablation: Annotated[
        str,
        typer.Argument(
            metavar="ABLATION",
            help=(
                "data-mix, target, order, crop-scale, attention, head, trunk-shape, head-width, "
                "head-depth or objective."
            ),
        ),
    ],
    config: Config,
    ray: OnRay = False,
    only: Annotated[
        str | None, typer.Option(metavar="ROW", help="Train and probe this row alone.")
    ] = None,
    dry_run: DryRun = False,
    workers: Workers = None,
) -> None:
    """Trains and probes the rows of one of the paper's tables, and sets ours beside its figures.

    Run it again to go on where it was killed. Rows that failed are told, and make it end with 1.
    """
    from jobs.config import load
    from jobs.sweep import sweep, text
    from jobs.sweep.config import SweepConfig

    checked = load(config, SweepConfig)
    if dry_run:
        sweep.dry_run(ablation, checked, only)
        return
    typer.echo(text.markdown(sweep.run(ablation, checked, only, ray, workers)), nl=False)


@app.command()
def scaling(config: Config, ray: OnRay = False, dry_run: DryRun = False) -> None:
    """Sets sizes and schedules side by side and fits how the loss falls; trains what is not done.

    Prints what was found, and the path of the page.
    """
    from jobs.scaling import scaling

    if found := scaling.run(config, ray, dry_run):
        for sentence in found.figures["findings"]:
            typer.echo(sentence)
        typer.echo(found.page)
