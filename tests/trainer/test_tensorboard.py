"""TensorBoard: refused where it is not installed; what it shows is the log, each step once."""

import subprocess
import sys

import pytest

from pipeline.format.errors import HeadraceError
from tests.trainer.conftest import no_file_over
from trainer import tensorboard
from trainer.tensorboard import Board, scalars

LINE = {
    "step": 10,
    "loss": 0.5,
    "grad_norm": None,
    "waits": {"fetch": 0.25, "decode": 0.0},
    "drawn": {"web": 30},
    "bad": {"web": {"not_an_image": 2}},
    "digest": "8f14",
    "curve": [0.5, 0.4],
}


def test_every_number_of_a_line_has_its_name():
    assert dict(scalars(LINE)) == {
        "loss": 0.5,
        "waits/fetch": 0.25,
        "waits/decode": 0.0,
        "drawn/web": 30,
        "bad/web/not_an_image": 2,
    }


@pytest.mark.parametrize("ask", [tensorboard.require, lambda: Board("never", 0)])
def test_without_the_package_it_is_refused_with_the_fix(monkeypatch, ask):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(HeadraceError, match=r"pip install 'headrace\[tensorboard\]', or set it to"):
        ask()


def test_a_trainer_does_not_import_it_unasked():
    code = "import sys, trainer.tensorboard; print('torch.utils.tensorboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def shown(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def write(folder, *steps, resumed_at=-1, loss=1.0):
    board = Board(folder, resumed_at)
    for step in steps:
        board.write(step=step, loss=loss)
    return board


def test_a_line_can_be_read_before_the_file_is_closed(tmp_path):
    pytest.importorskip("tensorboard")
    board = write(tmp_path, 0, 10)
    assert shown(tmp_path) == {"loss": [(0, 1.0), (10, 1.0)]}
    board.close()


def test_a_resumed_run_has_every_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    write(tmp_path, 0, 10, 20, 30, 40)  # killed: never closed
    write(tmp_path, 30, 40, 50, resumed_at=20, loss=2.0).close()
    steps = [(0, 1.0), (10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
    assert shown(tmp_path) == {"loss": steps}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_is_told_with_the_folder_and_the_fix(tmp_path):
    pytest.importorskip("tensorboard")
    board = write(tmp_path, 0)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    with no_file_over(size + 10):
        with pytest.raises(HeadraceError, match=rf"{tmp_path}: not written: .*; make room and run"):
            board.write(step=1, loss=0.5)
        with pytest.raises(HeadraceError, match="not written"):
            board.close()
