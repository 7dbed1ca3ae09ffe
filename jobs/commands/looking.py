"""Commands that show the installation and the whole line at work."""

from typing import Annotated

import typer

from jobs.commands.app import app


@app.command()
def doctor() -> None:
    """Shows what this installation uses (images, torch, Ray, storage) and how to mend each gap."""
    from jobs import doctor

    raise typer.Exit(doctor.run())


@app.command()
def demo(
    work: Annotated[str, typer.Option(help="Folder for everything the demo makes.")] = "work/demo",
) -> None:
    """Runs the whole line on real pictures: filter, curate, mix, train, report. In minutes."""
    from jobs import demo

    demo.run(work)


@app.command()
def miniature(
    work: Annotated[str, typer.Option(help="Folder for everything it makes.")] = "work/miniature",
) -> None:
    """Tests two of the paper's claims on real pictures, with three seeds. In under half an hour.

    Data mix (table 2) and attention (table 3d), on two processors; run it again to go on.
    """
    from jobs import miniature

    miniature.run(work)
