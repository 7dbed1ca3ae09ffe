"""`headrace report`: one self-contained page about a dataset and the run that learnt from it."""

from pipeline.format import address, writing
from pipeline.report import page


def run(dataset: str, run_folder: str | None, output: str) -> str:
    """Writes the page and returns its URL.

    Raises HeadraceError if the dataset or the run cannot be read, or the page not written.
    """
    url = address.absolute(output)
    writing.publish(url, page.render(dataset, run_folder))
    return url
