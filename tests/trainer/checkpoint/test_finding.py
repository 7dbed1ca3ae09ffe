"""Which checkpoints there are."""

import pytest

from pipeline.format.errors import HeadraceError
from tests.trainer.checkpoint.small import fake
from trainer import checkpoint


def test_newest_is_the_complete_one_of_the_highest_step(tmp_path):
    for step in (9, 120, 30):
        fake(tmp_path, step)
    fake(tmp_path, 240, complete=False)
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/00000120"


def test_steps_are_numbers_also_where_they_outgrow_their_names(tmp_path):
    fake(tmp_path, 99_999_999)
    fake(tmp_path, 100_000_000)
    assert checkpoint.newest(str(tmp_path)) == f"{tmp_path}/100000000"


def test_there_is_no_newest_without_a_complete_one(tmp_path):
    assert checkpoint.newest(f"{tmp_path}/nowhere") is None
    fake(tmp_path, 240, complete=False)
    assert checkpoint.newest(str(tmp_path)) is None


def test_what_else_lies_there_is_no_checkpoint(tmp_path):
    for name in ("best", "00000300.old", "0300"):
        (tmp_path / name).mkdir()
        (tmp_path / name / checkpoint.MARKER).write_text("{}")
    assert checkpoint.newest(str(tmp_path)) is None


def test_a_url_with_credentials_is_refused_without_repeating_them():
    with pytest.raises(HeadraceError, match=r"^s3://bucket/run: the URL carries credentials"):
        checkpoint.newest("s3://somebody:secret@bucket/run")
