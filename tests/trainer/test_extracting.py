"""Rows of a set in files: whole, in order, and made only once."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.format.errors import HeadraceError
from pipeline.format.shards import of_snapshot
from trainer import extracting
from trainer.extracting import extract, rows_of
from trainer.stream.ordered import ordered
from trainer.stream.source import Source

SIZE = 12
IDENTITY = {"weights": "a"}


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(extracting, "CHUNK", 8)


@pytest.fixture
def source(web):
    return Source("web", of_snapshot(web))


def means(images, samples):
    """(n, 4): the mean of each colour, and the sample's number."""
    return torch.cat([images.float().mean(dim=(2, 3)), samples[:, None].float()], dim=1)


def made(rows, threads=2, make=means):
    seen = []
    extract(rows, make, threads, seen.append)
    return seen


def rows(source, folder, batch=3, identity=None):
    return rows_of(source, SIZE, batch, str(folder), identity or IDENTITY)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.arrow")}


def test_the_rows_are_those_of_each_sample_in_order(source, tmp_path):
    found = rows(source, tmp_path)
    assert made(found) == [3, 3, 3, 3, 3, 3, 3, 2]
    chunks, whole = list(found), next(ordered(source, SIZE, 23))
    assert [len(chunk.keys) for chunk in chunks] == [6, 6, 6, 5], "two batches a file"
    assert [key for chunk in chunks for key in chunk.keys] == whole.keys
    assert [text for chunk in chunks for text in chunk.captions] == whole.captions
    together = torch.cat([chunk.rows for chunk in chunks])
    torch.testing.assert_close(together, means(whole.images, whole.samples), rtol=0, atol=0)
    assert together[:, 3].tolist() == list(range(23))


def test_a_second_pass_makes_only_what_is_missing_and_the_same_bytes(source, tmp_path):
    found = rows(source, tmp_path)
    made(found)
    before = files(tmp_path)
    assert len(before) == 4
    assert made(found) == []
    for path in list(tmp_path.rglob("*.arrow"))[1:3]:
        path.unlink()
    assert sum(made(found)) in (11, 12)
    assert files(tmp_path) == before


@pytest.mark.parametrize("threads", [1, 5])
def test_decoding_threads_change_no_byte(source, tmp_path, threads):
    made(rows(source, tmp_path / "one"), threads)
    made(rows(source, tmp_path / "two"), 3)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_pass_that_failed_in_the_middle_goes_on_with_the_files_it_lacks(source, tmp_path):
    made(rows(source, tmp_path / "whole"))
    found, calls = rows(source, tmp_path / "cut"), []

    def failing(images, samples):
        calls.append(samples)
        if len(calls) == 6:
            raise MemoryError
        return means(images, samples)

    with pytest.raises(MemoryError):
        made(found, make=failing)
    assert len(files(tmp_path / "cut")) == 2
    assert sum(made(found)) == 11
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    "other",
    [
        lambda source, folder: rows(source, folder, identity={"weights": "b"}),
        lambda source, folder: rows(source, folder, batch=4),
        lambda source, folder: rows_of(source, 16, 3, str(folder), IDENTITY),
    ],
)
def test_what_rows_depend_on_names_another_folder(source, tmp_path, other):
    one, another = rows(source, tmp_path), other(source, tmp_path)
    made(one)
    assert one.folder != another.folder
    assert len(another.missing()) == len(another.starts)
    assert not one.missing()


def test_another_set_has_rows_of_its_own(source, trusted, tmp_path):
    other = Source("trusted", of_snapshot(trusted))
    assert rows(source, tmp_path).folder != rows(other, tmp_path).folder


def test_a_damaged_sample_ends_the_pass_and_is_named(make_snapshot, pictures, tmp_path):
    snapshot = make_snapshot(tmp_path / "set", pictures[:6], [6])
    [tar] = (tmp_path / "set").rglob("*.tar")
    data, image = bytearray(tar.read_bytes()), pictures[4].image
    at = bytes(data).index(image)
    data[at : at + len(image)] = bytes(len(image))
    tar.write_bytes(data)
    found = rows(Source("set", of_snapshot(snapshot)), tmp_path / "rows")
    with pytest.raises(HeadraceError, match=rf"sample 4 \({pictures[4].key}\): .*; deny this"):
        made(found)


def test_a_damaged_file_is_named_with_the_way_out(source, tmp_path):
    found = rows(source, tmp_path)
    made(found)
    path = sorted(tmp_path.rglob("*.arrow"))[2]
    whole = path.read_bytes()
    for bad in (whole[: len(whole) // 2], b"", sorted(files(tmp_path).items())[3][1]):
        path.write_bytes(bad)
        with pytest.raises(HeadraceError, match=r"00000002\.arrow: damaged; delete it"):
            list(found)
    path.unlink()
    made(found)
    assert path.read_bytes() == whole


def test_rows_of_floats_keep_their_nans_and_bits(source, tmp_path):
    def odd(images, samples):
        return torch.tensor([[np.nan, -0.0, 1e-40]]).expand(len(samples), 3)

    found = rows(source, tmp_path)
    made(found, make=odd)
    bits = torch.cat([chunk.rows for chunk in found]).view(torch.int32)
    assert torch.equal(bits, odd(None, range(23)).contiguous().view(torch.int32))


SLOWLY = """
import sys
import torch
from pipeline.format.shards import of_snapshot
from pipeline.format.snapshot import read_snapshot
from trainer import extracting
from trainer.stream.source import Source

extracting.CHUNK = 8
url, folder = sys.argv[1:]
source = Source("web", of_snapshot(read_snapshot(url)))
rows = extracting.rows_of(source, 12, 3, folder, {"weights": "a"})

def means(images, samples):
    if len(rows.missing()) == 2:
        print("half done", flush=True)
        sys.stdin.read()
    return torch.cat([images.float().mean(dim=(2, 3)), samples[:, None].float()], dim=1)

extracting.extract(rows, means, 2, lambda count: None)
"""


@pytest.mark.slow
def test_a_killed_pass_goes_on_and_leaves_the_bytes_of_one_that_was_not(source, web, tmp_path):
    made(rows(source, tmp_path / "whole"))
    command = [sys.executable, "-c", SLOWLY, web.url, str(tmp_path / "cut")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "half done\n"
        process.kill()
    half = files(tmp_path / "cut")
    assert len(half) == 2
    assert sum(made(rows(source, tmp_path / "cut"))) == 11
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert half.items() <= files(tmp_path / "whole").items()
