"""Commands that evaluate a trunk: what its frozen features know of labelled images."""

from typing import Annotated

import typer

from jobs.commands.app import Config, Nproc, OnRay, app

eval_app = typer.Typer(
    no_args_is_help=True,
    help="What a trained trunk is worth: probes, LoRA, nearest neighbours, loss, the 15 sets.",
)
app.add_typer(eval_app, name="eval")

DryRun = Annotated[bool, typer.Option(help="Say what would be done, and do nothing.")]


@eval_app.command()
def probe(config: Config, nproc: Nproc = 1, ray: OnRay = False, dry_run: DryRun = False) -> None:
    """Trains attentive and linear probes on a frozen trunk; run it again to go on.

    A grid of rates and decays is trained in one pass over the images, a head for each, and one is
    chosen: by images held out of the training set, or by the test set where none are. The sets may
    be datasets of ours, or folders by class, tars, parquet or ImageNet's own files. Results with
    95% intervals go to <run>/results.json. jobs/recipes/eval-probe.yaml has AIM's recipe.
    """
    from jobs.evaluation import showing, training

    if dry_run:
        training.dry_run(config, "probe")
        return
    showing.probe(training.run(config, "probe", nproc, ray))


@eval_app.command()
def lora(config: Config, nproc: Nproc = 1, ray: OnRay = False, dry_run: DryRun = False) -> None:
    """Adapts a trunk to labelled images by LoRA, with a probe on top; run it again to go on.

    Its weights stay as they are; matrices of a low rank beside them are trained. Sets and results
    are as those of `eval probe`; so is a stop. jobs/recipes/eval-lora.yaml has AIM's recipe.
    """
    from jobs.evaluation import showing, training

    if dry_run:
        training.dry_run(config, "lora")
        return
    showing.lora(training.run(config, "lora", nproc, ray))


@eval_app.command()
def knn(config: Config) -> None:
    """Tells the classes of test images by their nearest training images; nothing is trained.

    Features are computed once and kept beside the results, so another `k` costs seconds. Run it
    again to go on. jobs/recipes/eval-knn.yaml is one to begin with.
    """
    from jobs.config import load
    from jobs.evaluation import knn, showing

    showing.knn(knn.run(load(config, knn.KnnConfig)))


@eval_app.command()
def loss(config: Config) -> None:
    """Takes the validation loss of a run at each place in the sequence; run it again to go on.

    It asks what the validation during training asks, so the means are the same; where in the image
    they come from is in results.json (`positions`). jobs/recipes/eval-loss.yaml is one to begin
    with.
    """
    from jobs.config import load
    from jobs.evaluation import loss, showing

    showing.loss(loss.run(load(config, loss.LossConfig)))


@eval_app.command()
def table(config: Config, nproc: Nproc = 1, ray: OnRay = False, dry_run: DryRun = False) -> None:
    """Probes trunks on AIM's 15 sets, as far as you have them, beside what the paper has.

    Each cell is a run of `eval probe`; what is done is found done. A probe that fails leaves its
    reason in its cell, the others go on, and the command ends with 1. Writes table.json and
    table.md.
    """
    from jobs.evaluation import table

    if dry_run:
        table.dry_run(config)
        return
    found = table.run(config, nproc, ray)
    table.show(found)
    if found.failed:
        raise typer.Exit(1)
