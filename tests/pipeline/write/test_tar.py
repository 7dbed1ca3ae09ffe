"""The tars that we write are those that webdataset writes, and their index is a scan's."""

import io
import tarfile

import numpy as np
import pytest
import webdataset

from pipeline.format.snapshot import INDEX_SCHEMA, index_tar
from pipeline.write.tar import Tar, _header


def samples(count: int) -> list[tuple[str, dict[str, bytes]]]:
    random = np.random.default_rng(1)
    sizes = random.integers(0, 3000, (count, 3)).tolist()
    extensions = ["jpg", "png", "webp", "gif"]
    return [
        (
            f"{number:032x}",
            {
                extensions[number % 4]: random.bytes(image),
                "txt": random.bytes(text),
                "json": random.bytes(meta),
            },
        )
        for number, (image, text, meta) in enumerate(sizes)
    ]


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_the_bytes_are_webdatasets_and_the_index_is_that_of_a_scan(tmp_path, count):
    ours, theirs = io.BytesIO(), io.BytesIO()
    tar = Tar(ours)
    writer = webdataset.TarWriter(theirs, user="", group="", mtime=0, encoder=False)
    for key, members in samples(count):
        tar.add(key, members)
        writer.write({"__key__": key, **members})
    index = tar.close()
    writer.close()
    assert ours.getvalue() == theirs.getvalue()
    assert tar.nbytes == len(ours.getvalue())
    (tmp_path / "0.tar").write_bytes(ours.getvalue())
    assert index.equals(index_tar(str(tmp_path / "0.tar")))
    assert index.schema == INDEX_SCHEMA


def test_a_long_key_is_written_as_webdataset_writes_it():
    ours, theirs = io.BytesIO(), io.BytesIO()
    key, members = "k" * 150 + "é", {"jpg": b"x"}
    tar = Tar(ours)
    tar.add(key, members)
    tar.close()
    with webdataset.TarWriter(theirs, user="", group="", mtime=0, encoder=False) as writer:
        writer.write({"__key__": key, **members})
    assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("key", ["k" * 96, "k" * 97, "a/" * 60 + "k", "é", "k" * 10])
def test_names_around_the_room_of_a_header_are_webdatasets(tmp_path, key):
    ours, theirs = io.BytesIO(), io.BytesIO()
    tar = Tar(ours)
    tar.add(key, {"jpg": b"x" * 700, "txt": b""})
    index = tar.close()
    (tmp_path / "0.tar").write_bytes(ours.getvalue())
    assert index.equals(index_tar(str(tmp_path / "0.tar")))
    with webdataset.TarWriter(theirs, user="", group="", mtime=0, encoder=False) as writer:
        writer.write({"__key__": key, "jpg": b"x" * 700, "txt": b""})
    assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("nbytes", [0, 7, 8**10, 8**11 - 1, 8**11, 10**12])
def test_a_header_of_any_size_is_tarfiles(nbytes):
    info = tarfile.TarInfo("a.jpg")
    info.size, info.mode = nbytes, 0o444
    assert _header("a.jpg", nbytes) == info.tobuf(tarfile.PAX_FORMAT)
