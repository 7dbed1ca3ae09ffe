"""Commands that mix snapshots, train on them, and take weights in and out."""

from typing import Annotated, Literal

import typer

from jobs.commands.app import Config, Nproc, OnRay, Out, Run, Workers, app
from pipeline.format.errors import HeadraceError


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
