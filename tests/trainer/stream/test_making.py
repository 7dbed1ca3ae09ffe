"""An iteration ends with its threads, and soon, also while its store is down."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.format.snapshot import Snapshot
from tests.pipeline.format import scripted
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

CONFIG = StreamConfig(batch=12, lanes=6, image_size=8, block=2)
SOON = 2
"""Seconds. A store is asked again for 300."""

REFUSED = ConnectionRefusedError(111, "Connection refused")
FAULTS = pytest.mark.parametrize(
    "fault",
    [
        pytest.param(REFUSED, id="refuses"),
        pytest.param(OSError(16, "Please reduce your request rate"), id="always 503"),
        pytest.param(600.0, id="says nothing"),
    ],
)

pytestmark = pytest.mark.timeout(60)  # a stream that hangs must not hold up the others


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("stream-")]


def files_of(snapshot: Snapshot) -> dict[str, bytes]:
    """All files of a snapshot's dataset, as `web/…`."""
    dataset = Path(snapshot.dataset.removeprefix("file://"))
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {f"web/{path.relative_to(dataset)}": path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def store(web) -> type[scripted.ScriptedStore]:
    """Holds a snapshot, `scripted://web`."""
    fake = scripted.empty()
    fake.files |= files_of(web)
    return fake


def always(answer: scripted.Answer) -> list[scripted.Answer]:
    return [answer] * 10_000


def interrupt(asked: Sequence[object], reads: int, at: list[float]) -> None:
    """Ctrl-C, some time after that many reads have begun; notes when."""
    while len(asked) < reads:
        time.sleep(0.05)
    time.sleep(0.3)
    at.append(time.monotonic())
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def assert_ends_by_interrupt(stream: Stream, asked: Sequence[object], reads: int = 1) -> None:
    """Waits for a batch that does not come."""
    at: list[float] = []
    threading.Thread(target=interrupt, args=(asked, reads, at), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        next(iter(stream))
    assert time.monotonic() - at[0] < SOON
    assert threads() == []


@FAULTS
def test_a_loop_that_is_left_while_its_store_is_down_ends_soon(store, fault):
    ahead = CONFIG.model_copy(update={"read_ahead": 50})
    with Stream("scripted://web", ahead) as stream:
        store.script = always(0.02)  # slow, for now
        batches = iter(stream)
        next(batches)
        store.script = always(fault)
        time.sleep(0.3)
        assert len(store.script) < 10_000
        begun = time.monotonic()
    assert time.monotonic() - begun < SOON
    assert threads() == []


@FAULTS
def test_who_interrupts_a_run_does_not_wait_for_a_store_that_is_down(store, fault):
    stream = Stream("scripted://web", CONFIG)
    store.script, store.asked = always(fault), []
    assert_ends_by_interrupt(stream, store.asked)


class DownStore(MemoryFileSystem):
    """Has manifests alone, and no loop in which its answers could be waited for."""

    protocol = "down"
    store: ClassVar[dict[str, object]] = {}
    asked: ClassVar[list[str]] = []

    def cat_file(self, path, **options):
        if path.endswith((".tar", ".parquet")):
            self.asked.append(path)
            raise REFUSED
        return super().cat_file(path, **options)


def test_a_store_that_waits_in_no_loop_is_not_asked_again_either(web):
    fsspec.register_implementation("down", DownStore, clobber=True)
    for name, data in files_of(web).items():
        DownStore().pipe(f"down://{name}", data)
    assert_ends_by_interrupt(Stream("down://web", CONFIG), DownStore.asked)


def test_who_interrupts_a_run_does_not_wait_for_the_second_read_of_a_damaged_sample(
    make_snapshot, pictures, tmp_path
):
    snapshot = make_snapshot(tmp_path, pictures, [4])
    store = scripted.empty()
    store.files |= files_of(snapshot)
    tar = f"web/{snapshot.shards[0].path}"
    for picture in pictures[:4]:
        store.files[tar] = store.files[tar].replace(picture.image, bytes(len(picture.image)))
    stream = Stream("scripted://web", StreamConfig(batch=4, lanes=1, image_size=8, block=4))
    # The index, and the two runs of the block; then come the next block, and the second read.
    store.script, store.asked = [0.0, 0.0, 0.0, *always(600.0)], []
    assert_ends_by_interrupt(stream, store.asked, 5)
