"""Stops: heard by all ranks at one step, whoever was asked, and not paid for by waiting."""

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.trainer.ranks import ranks
from trainer import control
from trainer.control import Control, Stopped

STEPS = """
import sys, time
from pathlib import Path
from trainer import distributed
from trainer.control import Control, Stopped

folder = Path(sys.argv[1])
with distributed.join() as world, Control() as control:
    try:
        for step in range(100_000):
            control.poll()
            (folder / f"{world.rank}-polls").write_text(str(step))
            time.sleep(0.002 * world.rank)
    except Stopped as stopped:
        (folder / f"{world.rank}-stopped").write_text(f"{step} {stopped.signal}")
        while (folder / "linger").exists():
            time.sleep(0.01)
"""


LATER = """\
        import trainer.control as module
        module.SAME_SECONDS = 0
        (folder / "later").touch()
        time.sleep(600)
"""
"""Goes on after `STEPS`, once it need not linger: from then on no signal is the one before."""


def polled(folder: Path, rank: int) -> bool:
    file = folder / f"{rank}-polls"
    return file.exists() and file.read_text() not in ("", "0", "1")


def until(condition, processes) -> None:
    while not condition():
        assert all(process.poll() is None for process in processes), processes
        time.sleep(0.005)


@pytest.mark.parametrize("number", control.SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_the_world_of_one_is_raised_at_the_next_poll(world, number):
    before = signal.getsignal(number)
    with Control() as stops:
        stops.poll()
        signal.raise_signal(number)
        with pytest.raises(Stopped) as raised:
            stops.poll()
    assert raised.value.signal == number.name
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("rank", "number"), [(0, signal.SIGTERM), (1, signal.SIGUSR1)])
def test_a_signal_to_any_rank_stops_all_at_the_same_step(tmp_path, rank, number):
    with ranks(2, STEPS, tmp_path) as processes:
        until(lambda: all(polled(tmp_path, n) for n in range(2)), processes)
        processes[rank].send_signal(number)
        for process in processes:
            assert process.wait(timeout=120) == 0, process.communicate()
    ends = [(tmp_path / f"{n}-stopped").read_text().split() for n in range(2)]
    assert ends == [[ends[0][0], number.name]] * 2


def test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_ends_the_process(tmp_path):
    (tmp_path / "linger").touch()
    with ranks(1, STEPS + LATER, tmp_path) as (process,):
        until(lambda: polled(tmp_path, 0), [process])
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGUSR1)
        until((tmp_path / "0-stopped").exists, [process])
        (tmp_path / "linger").unlink()
        until((tmp_path / "later").exists, [process])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == -signal.SIGTERM


def test_in_another_thread_no_handler_is_set_and_asking_stops_the_run(world):
    before, ended = signal.getsignal(signal.SIGTERM), []

    def loop() -> None:
        with Control() as stops:
            stops.poll()
            assert signal.getsignal(signal.SIGTERM) is before
            control.ask(signal.SIGUSR1)
            try:
                stops.poll()
            except Stopped as stopped:
                ended.append(stopped.signal)

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert ended == ["SIGUSR1"]


def test_what_was_asked_of_one_run_does_not_stop_the_next(world):
    with pytest.raises(Stopped), Control() as stops:
        control.ask(signal.SIGTERM)
        stops.poll()
    with Control() as stops:
        stops.poll()


def test_the_end_of_a_terminal_stops_a_run_unless_it_is_to_be_ignored(world):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped, match="SIGHUP"), Control() as stops:
            signal.raise_signal(signal.SIGHUP)
            stops.poll()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with Control() as stops:
            signal.raise_signal(signal.SIGHUP)
            stops.poll()
    finally:
        signal.signal(signal.SIGHUP, before)
