"""Commands that make snapshots of a pool, and tell of them."""

from typing import Annotated

import typer

from jobs.commands.app import Config, Dataset, Workers, app, print_counts


@app.command()
def fetch(
    config: Config,
    workers: Workers = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Fetch the failed rows of the shards that are done once more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="List the shards to do, and do nothing.")] = False,
) -> None:
    """Downloads a list of URLs and captions into a pool of tars. Resumable."""
    from jobs import fetch
    from jobs.config import load
    from pipeline.fetch.config import FetchConfig

    checked = load(config, FetchConfig)
    if dry_run:
        fetch.dry_run(checked, retry_failed)
        return
    totals = fetch.run(checked, workers, retry_failed)
    print_counts({"ok": totals.ok} | totals.failed, "rows", first="ok")
    if totals.undone:
        typer.echo(f"{totals.undone} slices of the list have no shard yet: run it without options")
    typer.echo(checked.pool_url)


@app.command()
def measure(config: Config, workers: Workers = None) -> None:
    """Reads every pool image once and records its facts in the ledger. Resumable."""
    from jobs import measure
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    measure.run(checked, measure.inputs(checked), workers)


@app.command()
def decide(config: Config, workers: Workers = None) -> None:
    """Gives every measured image a verdict with its reason, and prints the counts."""
    from jobs import decide, measure
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    decision = decide.run(checked, measure.inputs(checked), workers)
    print_counts(decision.counts)
    typer.echo(f"snapshot id {decision.id} (not written yet: `headrace write {config}`)")


@app.command()
def plan(
    compare: Annotated[
        tuple[str, str],
        typer.Option(metavar="A B", help="Two config files, or snapshots, of one pool."),
    ],
    sheet: Annotated[
        str | None, typer.Option(help="Write a page of the images that enter and leave.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Shows what a change of config would do, before anything is written."""
    from jobs import compare as comparing

    typer.echo("\n".join(comparing.lines(comparing.run(*compare, sheet, workers))))


@app.command()
def write(config: Config, workers: Workers = None) -> None:
    """Copies kept images to shards and publishes the snapshot."""
    from jobs import decide, measure, write
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    found = measure.inputs(checked)
    decision = decide.run(checked, found, workers)
    typer.echo(write.run(checked, found, decision, workers).url)


@app.command()
def curate(
    config: Config,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
) -> None:
    """measure, decide and write in one go: a pool in, a snapshot out."""
    from jobs import curate
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    if dry_run:
        curate.dry_run(checked)
        return
    snapshot = curate.run(checked, workers)
    print_counts(snapshot.counts)
    typer.echo(snapshot.url)


@app.command()
def refresh(
    config: Config,
    workers: Workers = None,
    rebase: Annotated[
        bool, typer.Option(help="Decide everything anew on what the sources hold; rewrites all.")
    ] = False,
    accept_drift: Annotated[
        bool, typer.Option(help="Publish also what is out of the band of `gates`.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Adds what is new or changed since the newest snapshot, and publishes its child.

    For a scheduler: run it again and again with the same config. Takedowns are `decide.lists.deny`.
    Where nothing is new it publishes nothing, says so, and ends with 0.
    """
    from jobs import refresh
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    if dry_run:
        refresh.dry_run(checked, rebase)
        return
    snapshot = refresh.run(checked, workers, rebase, accept_drift)
    if snapshot:
        print_counts(snapshot.counts)
    typer.echo(snapshot.url if snapshot else "nothing is new")


@app.command()
def why(
    dataset: Dataset,
    key: Annotated[str, typer.Argument(help="A uid, a key, source#key, or a local image file.")],
) -> None:
    """Tells the whole story of a pool image: what was measured, and why it was kept or dropped."""
    from jobs import why

    for story in why.run(dataset, key):
        typer.echo("\n".join(why.lines(story)))


@app.command()
def report(
    where: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|RUN",
            help="A dataset, <dataset>/snapshots/<id> for a snapshot, or a training run's folder.",
        ),
    ],
    run: Annotated[str | None, typer.Option(help="Of a dataset: a training run to show.")] = None,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER", help="Of a run: results or a table that lie elsewhere. Repeatable."
        ),
    ] = None,
    output: Annotated[str, typer.Option(help="Where the page goes.")] = "report.html",
) -> None:
    """Writes one self-contained HTML page about a dataset or a training run.

    Of a dataset: funnel, scores, pictures, duplicates. Of a run: curves, predictions, evaluations,
    tables, and its lineage from image to checkpoint.
    """
    from jobs import report

    typer.echo(report.run(where, run, output, evaluation or ()))
