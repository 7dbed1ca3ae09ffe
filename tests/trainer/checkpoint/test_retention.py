"""Which checkpoints go."""

import shutil

import pytest

from tests.trainer.checkpoint.small import fake, folders
from trainer import checkpoint


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (1, ["00000200", "00000300"]),
        (2, ["00000100", "00000200", "00000300"]),
        (9, ["00000010", "00000100", "00000200", "00000300"]),
    ],
)
def test_the_newest_stay_and_dead_ones_before_them_go_uncounted(tmp_path, count, left):
    for step in (10, 100, 200):
        fake(tmp_path, step)
    for step in (50, 150, 300):
        fake(tmp_path, step, complete=False)
    checkpoint.keep_newest(str(tmp_path), count)
    assert folders(tmp_path) == left
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000200"


@pytest.mark.parametrize("count", [0, 1])
def test_the_only_complete_checkpoint_is_never_deleted(tmp_path, count):
    fake(tmp_path, 10)
    fake(tmp_path, 20, complete=False)
    checkpoint.keep_newest(str(tmp_path), count)
    assert folders(tmp_path) == ["00000010", "00000020"]


def test_without_a_complete_one_nothing_is_deleted(tmp_path):
    fake(tmp_path, 10, complete=False)
    fake(tmp_path, 20, complete=False)
    checkpoint.keep_newest(str(tmp_path), 1)
    assert folders(tmp_path) == ["00000010", "00000020"]


def test_a_deletion_cut_short_leaves_no_complete_half_checkpoint(tmp_path, monkeypatch):
    fake(tmp_path, 10)
    fake(tmp_path, 20)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.keep_newest(str(tmp_path), 1)
    assert folders(tmp_path / "00000010") == ["__0_0.distcp"]
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000020"
    checkpoint.keep_newest(str(tmp_path), 1)
    assert folders(tmp_path) == ["00000020"]
