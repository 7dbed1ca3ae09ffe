"""The `headrace` command: each job a subcommand, each error one line that says what to do."""

import json
import sys
from typing import Annotated, Literal

import typer

from pipeline.format.errors import HeadraceError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "Data and training for AIM-style pretraining: curate web images, mix, stream, train.\n\n"
        "New here? `headrace demo` runs the whole line on real images in a few minutes."
    ),
)

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file; jobs/recipes/ has some to begin with.")
]
Dataset = Annotated[
    str, typer.Argument(help="A dataset, or <dataset>/snapshots/<id> for one snapshot of it.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processors for a local Ray; all by default. Changes no result."),
]


@app.command()
def doctor() -> None:
    """Shows what this installation uses (images, torch, Ray, storage) and how to mend each gap."""
    from jobs import doctor

    raise typer.Exit(doctor.run())


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
    _print_counts({"ok": totals.ok} | totals.failed, "rows", first="ok")
    if totals.undone:
        typer.echo(f"{totals.undone} slices of the list have no shard yet: run it without options")
    typer.echo(checked.pool_url)


@app.command()
def measure(config: Config, workers: Workers = None) -> None:
    """Reads every pool image once and records its facts in the ledger. Resumable."""
    from jobs import measure
    from jobs.config import CurateConfig, load

    measure.run(load(config, CurateConfig), workers)


@app.command()
def decide(config: Config, workers: Workers = None) -> None:
    """Gives every measured image a verdict with its reason, and prints the counts."""
    from jobs import decide, measure
    from jobs.config import CurateConfig, load

    checked = load(config, CurateConfig)
    decision = decide.run(checked, measure.inputs(checked), workers)
    _print_counts(decision.counts)
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
    _print_counts(snapshot.counts)
    typer.echo(snapshot.url)


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
def mix(
    config: Config,
    materialise: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Write the first N samples as plain tars, too."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Pins sources and their ratio under one URL, which trainers read. Copies no image."""
    from jobs import mix
    from jobs.config import MixConfig, load

    checked = load(config, MixConfig)
    section = checked.materialise
    if materialise and not section:
        raise HeadraceError(f"{config}: materialise: missing; say where the samples go, and how")
    mixture = mix.run(checked, workers)
    total = sum(source.weight for source in mixture.sources)
    for source in mixture.sources:
        share = source.weight / total
        typer.echo(
            f"{source.name:16} {share:6.1%}  {source.samples:>9,} samples  {source.snapshot}"
        )
    if materialise and section:
        from jobs.materialise import run as write_first

        tars = write_first(mixture, section, materialise, workers)
        typer.echo(f"the first {materialise:,} samples are {len(tars)} tars in {section.to}")


Nproc = Annotated[int, typer.Option(min=1, help="Processes on this machine; workers, with --ray.")]
OnRay = Annotated[bool, typer.Option("--ray", help="Train on the Ray cluster.")]


@app.command()
def train(
    config: Config,
    nproc: Nproc = 1,
    ray: OnRay = False,
    fork: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on from this run's weights, with a new stream."),
    ] = None,
) -> None:
    """Trains AIM on a mixture; run it again to resume from the newest checkpoint.

    SIGTERM, SIGUSR1 or Ctrl-C end it with a checkpoint and exit code 75; a run that stands still
    ends itself with 70.
    """
    from jobs import train
    from jobs.config import load
    from trainer.config import TrainConfig

    train.run(load(config, TrainConfig), nproc, fork, ray)


Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint's.")]
Out = Annotated[str, typer.Option("--out", metavar="FOLDER", help="A new folder, or a URL.")]
Dtype = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option(help="Of the stored weights; bfloat16 halves and rounds them."),
]


@app.command()
def export(
    run: Run,
    out: Out,
    dtype: Dtype = "float32",
) -> None:
    """Writes a run's weights as safetensors under ml-aim's names, with a model card."""
    from jobs import export

    export.run(run, out, dtype)
    typer.echo(out)


@app.command("import")
def import_(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS", help="A file or folder: of ml-aim, ml-l3m, or an export of ours."
        ),
    ],
    out: Out,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="YAML with the model's sizes, if they have no name."),
    ] = None,
    dtype: Dtype = "float32",
) -> None:
    """Turns weights of Apple's release or training code into an export. Runs no code in them."""
    from jobs import export
    from jobs.config import load
    from trainer.model.sizes import ModelConfig

    record = export.import_(weights, out, load(model, ModelConfig) if model else None, dtype)
    if "pixel_head.safetensors" not in record.files:
        typer.echo("without a pixel head: none is in these weights")
    typer.echo(out)


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


@app.command()
def report(
    dataset: Dataset,
    run: Annotated[str | None, typer.Option(help="Folder of a training run to show.")] = None,
    output: Annotated[str, typer.Option(help="Where the page goes.")] = "report.html",
) -> None:
    """Writes one self-contained HTML page: funnel, scores, pictures, duplicates, losses."""
    from jobs import report

    typer.echo(report.run(dataset, run, output))


@app.command()
def demo(
    work: Annotated[str, typer.Option(help="Folder for everything the demo makes.")] = "work/demo",
) -> None:
    """Runs the whole line on real pictures: filter, curate, mix, train, report. In minutes."""
    from jobs import demo

    demo.run(work)


def _print_counts(counts: dict[str, int], what: str = "pool images", first: str = "kept") -> None:
    total = sum(counts.values())
    for reason, count in sorted(counts.items(), key=lambda item: (item[0] != first, -item[1])):
        typer.echo(f"{reason:20} {count:>9,}  {count / max(total, 1):6.1%}")
    typer.echo(f"{what:20} {total:>9,}")


def main() -> None:
    """Entry point: a HeadraceError is one message and its exit code, never a traceback."""
    try:
        app()
    except HeadraceError as error:
        sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
        sys.exit(error.code)
