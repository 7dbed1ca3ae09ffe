"""The log's figures for TensorBoard, if a run wants them: `<run>/tensorboard/`.

Names are the fields of metrics.jsonl, with `/` between a field and what is in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError


def require() -> None:
    """Raises HeadraceError if TensorBoard is not installed: to be asked before any work."""
    if find_spec("tensorboard") is None:
        raise HeadraceError(
            "tensorboard: true needs a package that is not installed; "
            "pip install 'headrace[tensorboard]', or set it to false"
        )


class Board:
    """Writes a run's scalars; the first rank has one."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        """Opens a new event file, which hides what a killed run wrote of steps after `resumed_at`.

        Raises HeadraceError as `require` does.
        """
        require()
        from torch.utils.tensorboard import SummaryWriter  # takes a second, and a package

        self.folder = folder
        with self._room():
            self.writer = SummaryWriter(str(folder), purge_step=resumed_at + 1)

    def write(self, **line: Any) -> None:
        """Adds every number of a line of the log, readable by others at once.

        Raises HeadraceError if the disk is full.
        """
        with self._room():
            for name, value in scalars(line):
                self.writer.add_scalar(name, value, line["step"])
            self.writer.flush()

    def close(self) -> None:
        """Closes the file. Raises HeadraceError if the disk is full."""
        with self._room():
            self.writer.close()

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HeadraceError(
                f"{self.folder}: not written: {error.strerror}; make room and run the same command "
                "again"
            ) from error


def scalars(line: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Names and numbers of a line's fields, nested ones too; the step, texts and lists are none."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and prefix + name != "step":
            yield prefix + name, value
