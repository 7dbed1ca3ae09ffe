"""Careful mode: real processes die of images, and every other row is that of the fast way."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest

from pipeline import ledger
from pipeline.format.images import OUT_OF_MEMORY
from pipeline.format.snapshot import parquet_bytes
from pipeline.measure import limits
from pipeline.measure.careful import isolated, measure_part_carefully
from pipeline.measure.image import ImageConfig, measure_part
from tests.pipeline import dying
from tests.pipeline.making import END, member, png, tar_of, tar_part

CONFIG = ImageConfig()
ROOT = dying.FOLDER.parents[1]


@pytest.fixture
def deadly(monkeypatch):
    """Children of this process open images with decoders that die."""
    monkeypatch.syspath_prepend(str(dying.FOLDER))


def pool(deadly_ones: dict[int, bytes], count: int = 8) -> dict[str, bytes]:
    """Good pictures with captions, and others at the given numbers."""
    members = {}
    for number in range(count):
        members[f"{number}.png"] = deadly_ones.get(number) or png(number)
        members[f"{number}.txt"] = f"the caption of picture {number}".encode()
    return members


def measured(
    tmp_path, deadly_ones: dict[int, bytes], seconds: float = 60, count: int = 8
) -> pa.Table:
    part = tar_part(tmp_path / "0.tar", pool(deadly_ones, count))
    return measure_part_carefully(part, CONFIG, seconds)


def errors(table: pa.Table) -> dict[int, str]:
    return {n: error for n, error in enumerate(table["error"].to_pylist()) if error}


@pytest.mark.parametrize("shard", ["00000000.tar", "00000005.tar"])
def test_without_a_deadly_image_the_rows_are_those_of_the_fast_way_to_the_byte(
    tmp_path, demo_data, shard
):
    part = tar_part(tmp_path / shard, (demo_data / "pool" / shard).read_bytes())
    careful = measure_part_carefully(part, CONFIG)
    assert parquet_bytes(careful) == parquet_bytes(measure_part(part, CONFIG))
    assert isolated(careful) == []


def test_an_empty_part_needs_no_child(tmp_path):
    part = tar_part(tmp_path / "0.tar", END)
    assert measure_part_carefully(part, CONFIG) == ledger.IMAGE_SCHEMA.empty_table()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_an_image_that_kills_its_process_is_named_with_the_signal(tmp_path, deadly, name):
    table = measured(tmp_path, {3: dying.image(name)})
    assert errors(table) == {3: f"decoder_died: signal {name}"}


def test_a_decoder_that_leaves_is_named_with_its_exit_code(tmp_path, deadly):
    assert errors(measured(tmp_path, {0: dying.image("EXIT")})) == {0: "decoder_died: exit code 3"}


@pytest.mark.parametrize("how", ["HANG", "SPIN"])
def test_a_decoder_that_does_not_end_is_named_with_its_time(tmp_path, deadly, how):
    table = measured(tmp_path, {7: dying.image(how)}, seconds=1.5)
    assert errors(table) == {7: "decoder_hung: over 1.5 s"}


def test_a_decoder_that_takes_all_memory_gets_as_much_as_one_image_may_have(tmp_path, deadly):
    assert errors(measured(tmp_path, {4: dying.image("GROW")})) == {4: OUT_OF_MEMORY}


def test_an_image_that_is_always_killed_from_outside_is_one_that_takes_too_much(tmp_path, deadly):
    assert errors(measured(tmp_path, {1: dying.image("SIGKILL")})) == {1: OUT_OF_MEMORY}


def test_deadly_images_change_no_other_row_and_keep_their_own_place_and_caption(tmp_path, deadly):
    bad = {n: dying.image(how, n) for n, how in enumerate(["SIGSEGV", "EXIT", "GROW"], start=2)}
    table = measured(tmp_path, bad | {5: b"<html>"})
    harmless = dict.fromkeys(bad, b"<html>")
    usual = measure_part(tar_part(tmp_path / "1.tar", pool(harmless | {5: b"<html>"})), CONFIG)
    for n, (row, other) in enumerate(zip(table.to_pylist(), usual.to_pylist(), strict=True)):
        mine = ["key", "caption", "caption_words", "meta", "language"] if n in bad else [*row]
        apart = {"source", "offset", "uid"}
        assert {name: row[name] for name in mine if name not in apart} == {
            name: other[name] for name in mine if name not in apart
        }
    assert [row["nbytes"] for row in table.to_pylist()][2] == len(bad[2])
    assert isolated(table) == [errors(table)[n] for n in (2, 3, 4)]


def test_a_part_of_nothing_but_deadly_images_is_a_part_like_any_other(tmp_path, deadly):
    bad = {n: dying.image("SIGSEGV", n) for n in range(4)}
    table = measured(tmp_path, bad, count=4)
    assert table["error"].to_pylist() == ["decoder_died: signal SIGSEGV"] * 4
    assert parquet_bytes(table) == parquet_bytes(measured(tmp_path, bad, count=4))


def test_a_damaged_archive_and_a_sample_without_image_keep_their_reasons(tmp_path):
    data = member("a.png", png(1)) + member("b.txt", b"no image") + member("c.png", png(2))[:700]
    part = tar_part(tmp_path / "0.tar", data)
    assert measure_part_carefully(part, CONFIG) == measure_part(part, CONFIG)


CAREFUL = """
import sys
from pipeline.format.snapshot import parquet_bytes
from pipeline.measure.careful import measure_part_carefully
from pipeline.measure.image import ImageConfig
from pipeline.pool.webdataset import parts
sys.stdout.buffer.write(parquet_bytes(measure_part_carefully(*parts(sys.argv[1]), ImageConfig())))
"""


def careful_process(tar) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CAREFUL, tar], cwd=ROOT, stdout=subprocess.PIPE)


def children(pid: int) -> list[int]:
    path = f"/proc/{pid}/task/{pid}/children"
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [int(child) for child in file.read().split()]


def cpu_seconds(pid: int) -> float:
    """What a process has worked, which a busy machine makes no more of."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def test_a_child_killed_by_somebody_else_changes_no_byte(tmp_path):
    tar = tmp_path / "0.tar"
    tar.write_bytes(tar_of(pool({}, 900)))
    process = careful_process(tar)
    made: list[bytes] = []
    reader = threading.Thread(target=lambda: made.append(process.stdout.read()))
    reader.start()
    killed: set[int] = set()
    while len(killed) < 2 and process.poll() is None:  # a third, as it starts, would be an error
        for child in set(children(process.pid)) - killed:
            with contextlib.suppress(OSError):
                if cpu_seconds(child) > 1:  # it starts in 0.8 s, and 900 images take 2 s more
                    os.kill(child, signal.SIGKILL)
                    killed.add(child)
        time.sleep(0.01)
    reader.join()
    assert process.wait() == 0
    assert killed
    part = tar_part(tar, tar.read_bytes())
    assert made == [parquet_bytes(measure_part(part, CONFIG))]


def test_a_child_does_not_outlive_its_parent(tmp_path):
    tar = tmp_path / "0.tar"
    tar.write_bytes(tar_of(pool({}, 300)))
    process = careful_process(tar)
    (child,) = wait_for(lambda: children(process.pid))
    process.kill()
    process.communicate()
    wait_for(lambda: not os.path.exists(f"/proc/{child}"))


def test_the_memory_limit_ends_with_its_block():
    with limits.memory_limit(200_000_000):
        bytearray(100_000_000)
        with pytest.raises(MemoryError):
            bytearray(300_000_000)
    bytearray(300_000_000)


def test_an_image_as_large_as_allowed_is_measured_within_its_limits(tmp_path):
    side = 1000
    config = replace_pixels(side * side)
    part = tar_part(tmp_path / "0.tar", {"a.png": png(1, side, side)})
    began = time.monotonic()
    assert errors(measure_part_carefully(part, config)) == {}
    assert time.monotonic() - began < limits.SECONDS


def replace_pixels(most: int) -> ImageConfig:
    return CONFIG.model_copy(update={"max_pixels": most})


def test_the_careful_mode_needs_no_ray():
    code = "import sys; sys.modules['ray'] = None; import pipeline.measure.careful"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
