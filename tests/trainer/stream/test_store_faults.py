"""An S3 store that misbehaves: the same batches all the same, or one clear error in time."""

import itertools
import threading
import time
from pathlib import Path

import pytest
import s3fs

from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from tests.jobs import door
from tests.trainer.stream import misbehaving
from tests.trainer.stream.misbehaving import (
    ELSEWHERE,
    FORBIDDEN,
    RESET,
    SILENT,
    SLOW,
    TRUNCATED,
    UNAVAILABLE,
    WHOLE,
    Proxy,
)
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

PATIENCE = Patience(deadline=15, first_pause=0.02, longest_pause=0.2, stall=0.5)
CONFIG = StreamConfig(batch=12, lanes=4, image_size=8, block=2, reads=4, patience=PATIENCE)
STEPS = 8
URL = f"s3://{door.BUCKET}/web"


@pytest.fixture(scope="module")
def bucket():
    """A client of an S3 server, a misbehaving proxy before it, and the environment set to that."""
    with (
        door.s3() as (way, environment),
        misbehaving.before(way.behind) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield door.client(way.behind), proxy
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def store(bucket, web) -> Proxy:
    """Holds a whole snapshot, and follows no script yet."""
    client, proxy = bucket
    dataset = Path(web.dataset.removeprefix("file://"))
    for path in dataset.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), door.BUCKET, f"web/{path.relative_to(dataset)}")
    proxy.follow({})
    return proxy


def digest_of(url: str, config: StreamConfig = CONFIG) -> int:
    """Of the first steps; none of their samples was replaced."""
    with Stream(url, config) as stream:
        batches = list(itertools.islice(stream, STEPS))
        assert [bad for batch in batches for bad in batch.bad] == []
        return stream.digest


@pytest.fixture(scope="module")
def undisturbed(web) -> int:
    return digest_of(web.url)


def test_a_store_that_behaves_gives_what_a_disk_gives(store, undisturbed):
    assert digest_of(URL) == undisturbed
    assert store.reads > 40


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(dict.fromkeys(range(3, 33), UNAVAILABLE), id="503 storm"),
        pytest.param(dict.fromkeys(range(0, 30, 3), RESET), id="reset in mid-body"),
        pytest.param(dict.fromkeys(range(0, 30, 3), TRUNCATED), id="truncated body"),
        pytest.param(dict.fromkeys(range(0, 30, 10), SLOW), id="slow body"),
        pytest.param(dict.fromkeys(range(0, 30, 2), WHOLE), id="200 with the whole object"),
        pytest.param(dict.fromkeys(range(0, 30, 2), ELSEWHERE), id="206 of another range"),
        pytest.param(
            dict(
                zip(
                    range(0, 60, 4),
                    itertools.cycle([UNAVAILABLE, RESET, TRUNCATED, WHOLE, ELSEWHERE]),
                    strict=False,
                )
            ),
            id="all of them",
        ),
    ],
)
def test_a_store_that_recovers_changes_no_batch(store, undisturbed, script):
    # One read at a time where bytes may be wrong: else two wrong answers can meet in one read and
    # its repetition, and those are believed.
    reads = 1 if ELSEWHERE in script.values() else CONFIG.reads
    store.follow(script)
    assert digest_of(URL, CONFIG.model_copy(update={"reads": reads})) == undisturbed
    assert sorted(store.told) == sorted(script.values()), "the script was played to its end"


@pytest.mark.parametrize("fault", [UNAVAILABLE, SLOW, WHOLE, TRUNCATED])
def test_a_store_that_does_not_recover_ends_the_run_with_one_line(store, fault):
    patience = Patience(deadline=2, first_pause=0.02, longest_pause=0.2, stall=0.5)
    config = CONFIG.model_copy(update={"patience": patience})
    store.follow(dict.fromkeys(range(20, 10_000), fault))
    begun = time.monotonic()
    with pytest.raises(HeadraceError, match=rf"{URL}/shards/\S+: given up after \d s and \d"):
        digest_of(URL, config)
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("fault", [UNAVAILABLE, SLOW, SILENT])
def test_a_loop_that_is_left_while_the_store_is_down_ends_soon(store, fault):
    patience = Patience(deadline=300, stall=60)
    config = CONFIG.model_copy(update={"patience": patience, "read_ahead": 50})
    with Stream(URL, config) as stream:
        store.follow(dict.fromkeys(range(30, 10_000), fault))
        batches = iter(stream)
        next(batches)
        while not store.told:
            time.sleep(0.1)
        time.sleep(0.5)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert not [one for one in threading.enumerate() if one.name.startswith("stream-")]


def test_a_store_that_forbids_ends_the_run_at_once(store):
    store.follow({20: FORBIDDEN})
    begun = time.monotonic()
    with pytest.raises(HeadraceError, match=rf"{URL}/shards/\S+: reading is not allowed"):
        digest_of(URL)
    assert time.monotonic() - begun < 5


def test_a_shard_deleted_in_mid_epoch_ends_the_run_and_is_named(bucket, store, web):
    path = web.shards[1].path
    with Stream(URL, CONFIG) as stream:
        batches = iter(stream)
        next(batches)
        bucket[0].delete_object(Bucket=door.BUCKET, Key=f"web/{path}")
        with pytest.raises(HeadraceError, match=f"{URL}/{path}: no such file; check the path"):
            list(itertools.islice(batches, 20))
