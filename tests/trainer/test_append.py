"""Files that a run adds to, on disks that fill up and machines that lose their power."""

import os

import pytest

from pipeline.format.errors import HeadraceError
from tests.trainer.conftest import no_file_over
from trainer.metrics import Metrics
from trainer.proof import Proof
from trainer.quarantine import Quarantine
from trainer.stream.bad import Bad

BAD = Bad("web", 7, "file:///a/0.tar", "k7", 512, "not_an_image: no", "k8")

WRITERS = {
    "delivered.txt": (lambda path: Proof(path, 0), lambda proof: proof.write([1, 2, 3])),
    "quarantine.jsonl": (lambda path: Quarantine(path, 0), lambda listed: listed.add([BAD])),
    "metrics.jsonl": (lambda path: Metrics(path, bool), lambda log: log.write(step=1, loss=0.5)),
}


@pytest.fixture(params=WRITERS)
def writer(request, tmp_path):
    """What writes the file of this name, and how it is made to."""
    opened, write = WRITERS[request.param]
    path = tmp_path / request.param
    return path, opened(path), write


def test_a_full_disk_is_told_with_the_file_and_the_fix_and_once(writer):
    path, file, write = writer
    with no_file_over(10):
        with pytest.raises(HeadraceError, match=rf"{path}: not written: .*; make room and run"):
            write(file)
        file.close()
    assert path.stat().st_size == 10, "no more was there room for"


def test_what_was_added_outlives_a_loss_of_power(writer, monkeypatch):
    path, file, write = writer
    synced, fsync = {}, os.fsync

    def noted(descriptor):
        fsync(descriptor)
        synced[os.readlink(f"/proc/self/fd/{descriptor}")] = os.fstat(descriptor).st_size

    monkeypatch.setattr(os, "fsync", noted)
    write(file)
    assert synced == {str(path): path.stat().st_size}
    file.close()


def test_nothing_is_written_where_nothing_is_new(tmp_path, monkeypatch):
    listed = Quarantine(tmp_path / "quarantine.jsonl", 0)
    listed.add([BAD])
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("the disk waits for nothing"))
    listed.add([BAD])
    listed.close()
    assert (tmp_path / "quarantine.jsonl").read_text().count("\n") == 1
