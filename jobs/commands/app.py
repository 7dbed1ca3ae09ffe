"""The command that all others hang on, and what several of them take."""

from typing import Annotated

import typer

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


Nproc = Annotated[int, typer.Option(min=1, help="Processes on this machine; workers, with --ray.")]
OnRay = Annotated[bool, typer.Option("--ray", help="Train on the Ray cluster.")]


Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint's.")]
Out = Annotated[str, typer.Option("--out", metavar="FOLDER", help="A new folder, or a URL.")]


def print_counts(counts: dict[str, int], what: str = "pool images", first: str = "kept") -> None:
    """Rows by what became of them, the good ones first, and their sum."""
    total = sum(counts.values())
    for reason, count in sorted(counts.items(), key=lambda item: (item[0] != first, -item[1])):
        typer.echo(f"{reason:20} {count:>9,}  {count / max(total, 1):6.1%}")
    typer.echo(f"{what:20} {total:>9,}")
