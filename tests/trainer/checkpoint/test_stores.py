"""Checkpoints in a real S3 server, which may also refuse."""

from contextlib import closing

import pytest
import s3fs

from pipeline.format.errors import HeadraceError
from tests.jobs import door
from tests.trainer.checkpoint.small import STATE, assert_bitwise, bare, tiny, trained, values
from trainer import checkpoint
from trainer.checkpoint import saving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WHERE = f"s3://{door.BUCKET}/run/checkpoints"


@pytest.fixture
def bucket(monkeypatch):
    with door.s3() as (way, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield way
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_s3_store_holds_what_a_folder_does_and_loses_what_is_old(world, bucket):
    assert checkpoint.newest(WHERE) is None
    dead = f"{WHERE.removeprefix('s3://bucket/')}/00000001/__0_0.distcp"
    door.client(bucket.behind).put_object(Bucket=door.BUCKET, Key=dead, Body=b"cut short")
    model, optimiser = trained(2)
    with closing(checkpoint.Saver(WHERE, keep=1)) as saver:
        for step in (2, 3):
            saver.save(step, *tiny(), STATE)
        saver.save(4, model, optimiser, STATE)
        saver.wait()
    left = ["00000004/.metadata", "00000004/COMPLETE", "00000004/__0_0.distcp"]
    assert door.names(bucket) == [f"run/checkpoints/{name}" for name in left]
    newest = checkpoint.newest(WHERE)
    assert newest == f"{WHERE}/00000004"
    assert checkpoint.read_state(newest) == {"step": 4, **STATE}
    other, others = tiny(seed=1)
    checkpoint.load(newest, other, others)
    assert_bitwise(values(other, others), values(model, optimiser))
    checkpoint.load_weights(newest, bare(2))


def test_a_store_that_hangs_up_ends_the_save_in_one_line(world, bucket):
    with closing(checkpoint.Saver(WHERE, keep=1)) as saver:
        saver.save(1, *tiny(), STATE)
        saver.wait()
        bucket.shut()
        with pytest.raises(HeadraceError) as told:
            saver.save(2, *tiny(), STATE)
            saver.wait()
        assert "\n" not in str(told.value)
        assert str(told.value).startswith(f"{WHERE}/00000002")
        bucket.unlock()
        assert checkpoint.newest(WHERE) == f"{WHERE}/00000001"
        saver.save(2, *tiny(), STATE)
        saver.wait()
    assert checkpoint.newest(WHERE) == f"{WHERE}/00000002"


def test_a_store_that_hangs_up_in_mid_save_leaves_no_checkpoint(world, bucket, monkeypatch):
    write = saving.save_sharded

    def cut(*words, **options):
        bucket.shut()
        return write(*words, **options)

    monkeypatch.setattr(saving, "save_sharded", cut)
    with closing(checkpoint.Saver(WHERE, keep=1)) as saver:
        with pytest.raises(
            HeadraceError, match=rf"^{WHERE}/00000001: not written: rank 0: [^\n]*$"
        ):
            saver.save(1, *tiny(), STATE)
            saver.wait()
        bucket.unlock()
    assert checkpoint.newest(WHERE) is None
