"""Commands that train and judge the network that scores pairs."""

from typing import Annotated

import typer

from jobs.commands.app import Config, Nproc, OnRay, Out, Run, Workers, app

filter_app = typer.Typer(no_args_is_help=True, help="The network that scores image-text pairs.")
app.add_typer(filter_app, name="filter")


@filter_app.command("train")
def filter_train(config: Config, nproc: Nproc = 1, ray: OnRay = False) -> None:
    """Trains a CLIP filter on trusted pairs; run it again to resume from the newest checkpoint.

    Its model lies in <run>/model then; the last line is its name for `measure.clip.model`. A stop
    and a run that stands still end as those of `headrace train` do, with 75 and 70.
    """
    from jobs import filter
    from jobs.config import load
    from trainer.contrastive.config import FilterConfig

    typer.echo(filter.train(load(config, FilterConfig), nproc, ray))


@filter_app.command("evaluate")
def filter_evaluate(
    config: Config,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Judges filters on held-out trusted pairs and on known noise, and writes a page. Resumable."""
    from jobs import evaluate
    from jobs.config import load
    from jobs.judging.config import EvaluateConfig

    checked = load(config, EvaluateConfig)
    if dry_run:
        evaluate.dry_run(checked)
        return
    found = evaluate.run(checked, workers)
    evaluate.show(found)
    typer.echo(found.page)


@filter_app.command("export")
def filter_export(run: Run, out: Out) -> None:
    """Writes a filter's weights as open_clip reads them, and prints their name.

    `headrace filter train` ends with this; here is how to have a run's earlier state.
    """
    from jobs import filter

    typer.echo(filter.export(run, out))


@filter_app.command("ensemble")
def filter_ensemble(
    one: Annotated[str, typer.Argument(metavar="A", help="A folder, local-dir:… or hf-hub:….")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another, as A fine-tuned.")],
    out: Out,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Share of B in each weight.")] = 0.5,
) -> None:
    """Averages two filters weight by weight, (1 - alpha) A + alpha B, and prints the name."""
    from jobs import filter

    typer.echo(filter.ensemble(one, other, alpha, out))
