"""`headrace report`: one self-contained page about a dataset, or about a training run."""

from collections.abc import Sequence

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.report import folder, page
from pipeline.report import run as run_page


def run(where: str, run_folder: str | None, output: str, evaluations: Sequence[str] = ()) -> str:
    """Writes the page and returns its URL.

    `where` is a dataset, with the run of `run_folder` if there is one; or a run's folder, with
    folders of evaluations and tables. Raises HeadraceError if it is neither, if something that is
    named cannot be read, or the page not written.
    """
    url = address.absolute(output)
    writing.publish(url, _rendered(where, run_folder, evaluations))
    return url


def _rendered(where: str, run_folder: str | None, evaluations: Sequence[str]) -> bytes:
    if _is_dataset(where):
        if evaluations:
            raise HeadraceError(
                f"--evaluation: goes with a run, and {where} is a dataset; give the run's folder"
            )
        return page.render(where, run_folder)
    if not folder.is_run(where):
        raise HeadraceError(
            f"{where}: neither a dataset (there is no LATEST in it, and no manifest.json) nor the "
            f"folder of a training run (no {folder.LOG}); check the path"
        )
    if run_folder is not None:
        raise HeadraceError(
            f"--run: goes with a dataset, and {where} is a run's folder; leave it out"
        )
    return run_page.render(where, evaluations)


def _is_dataset(where: str) -> bool:
    url = address.absolute(where)
    return any(store.exists(address.join(url, name)) for name in ("LATEST", "manifest.json"))
