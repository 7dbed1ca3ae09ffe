"""A dataset in a real S3 server: byte for byte the one on a disk, and no secret in it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from jobs import cluster, curate, export, materialise, mix, prune, refresh, verify
from jobs.config import MaterialiseConfig, MixConfig
from pipeline.format.chain import chain
from pipeline.format.mixture import read_mixture
from pipeline.format.snapshot import read_snapshot
from tests.conftest import DEMO_DATA, Headrace
from tests.jobs import curation
from tests.s3 import ceph
from tests.trainer.runs import MODEL, facts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

URL = f"s3://{ceph.BUCKET}/dataset"
FIRST = [{"url": str(DEMO_DATA / "pool" / "0000000{0..2}.tar")}]
ALL = [{"url": str(DEMO_DATA / "pool" / "*.tar")}]


@dataclass
class Run:
    """Commands against the server, with what they said."""

    server: ceph.Server
    headrace: Headrace
    folder: Path
    said: str = ""

    def __call__(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess:
        clean = {name: value for name, value in os.environ.items() if "AWS_" not in name}
        leads = self.by_profile() | environment
        process = self.headrace.start(*words, env=clean | leads)
        out, err = process.communicate(timeout=200)
        self.said += out + err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def by_profile(self) -> dict[str, str]:
        """Credentials in a file, of which a profile is named; none in the environment."""
        file = self.folder / "credentials"
        file.write_text(
            f"[weekly]\naws_access_key_id = {self.server.key}\n"
            f"aws_secret_access_key = {ceph.SECRET}\n"
        )
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(file),
            "AWS_PROFILE": "weekly",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.server.endpoint,
        }

    def config(self, name: str, fields: dict) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(fields))
        return path


@pytest.fixture(scope="module")
def run(server, headrace, tmp_path_factory) -> Run:
    return Run(server, headrace, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def curated(run) -> str:
    """A dataset of half the pool."""
    config = run.config("first", curation.fields(URL, sources=FIRST))
    done = run("curate", config, "--workers", "2")
    assert done.returncode == 0, done.stderr
    return URL


def test_a_dataset_on_s3_is_the_one_on_a_disk_week_by_week(run, curated, tmp_path):
    disk = tmp_path / "dataset"
    with cluster.session(2):
        curate.run(curation.config(disk, sources=FIRST), workers=2)
        assert run.server.objects("dataset/") == curation.contents(disk)
        second = all_but_one_of(disk)  # found now: later two shards have one number
        for dataset in (disk, curated):
            refresh.run(curation.config(dataset, **second), 2, accept_drift=True)
        assert run.server.objects("dataset/") == curation.contents(disk)
        assert verify.run(curated).damages == []
        with damaged(run.server) as shard:
            assert [shard in line for line in verify.run(curated).damages] == [True]


def all_but_one_of(disk: Path) -> dict[str, Any]:
    """The whole pool, and a takedown of an image that the first snapshot keeps."""
    index = pq.read_table(next(disk.glob("shards/*/00000000.idx.parquet")))
    denied = {"kind": "uid", "values": [index["key"][0].as_py()]}
    rules = curation.fields(disk)["decide"] | {"lists": {"deny": [denied]}}
    return {"sources": ALL, "decide": rules}


@contextlib.contextmanager
def damaged(server: ceph.Server) -> Iterator[str]:
    """A shard of which a byte is not what it was, until the block ends."""
    shard = max(key for key in server.objects("dataset/") if key.endswith(".tar"))
    key, client = {"Bucket": ceph.BUCKET, "Key": f"dataset/{shard}"}, server.client()
    whole = client.get_object(**key)["Body"].read()
    client.put_object(**key, Body=whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    yield shard
    client.put_object(**key, Body=whole)


def test_a_job_with_a_wrong_secret_says_so_in_a_line_that_does_not_tell_it(run, curated):
    done = run("snapshots", curated, **wrong(run.server))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {curated}/")
    assert "reading is not allowed; check the credentials" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def wrong(server: ceph.Server) -> dict[str, str]:
    """Keys in the environment come before those of a profile."""
    return {"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": "hunter2"}


def test_a_trainer_fed_from_s3_with_its_checkpoints_there_goes_on_from_them(run, curated):
    mixture = f"{curated}/mixture.json"
    mix.run(MixConfig(mixture=mixture, sources=[{"name": "web", "snapshot": curated, "ratio": 1}]))
    fields = {
        "run": str(run.folder / "training"),
        "mixture": mixture,
        "checkpoints": f"s3://{ceph.BUCKET}/checkpoints",
        "model": MODEL,
        "stream": {"batch": 16, "lanes": 4, "image_size": 32},
        "log_every": 1,
        "checkpoint_every": 2,
        "steps": 4,
        "threads": 1,
    }
    config = run.config("train", fields)
    first, made = trained(run, config), when_made(run, "checkpoints/00000002/COMPLETE")
    assert [line["step"] for line in first] == [1, 2, 3, 4]
    assert trained(run, config) == first
    assert when_made(run, "checkpoints/00000002/COMPLETE") == made, "it did not begin anew"


def when_made(run: Run, key: str) -> datetime:
    return run.server.client().head_object(Bucket=ceph.BUCKET, Key=key)["LastModified"]


def trained(run: Run, config: Path) -> list[dict]:
    """What a run logs that has no newer checkpoint than the second."""
    client, prefix = run.server.client(), "checkpoints/00000004/"
    for name in run.server.objects(prefix):
        client.delete_object(Bucket=ceph.BUCKET, Key=prefix + name)
    done = run("train", config)
    assert done.returncode == 0, done.stderr
    assert run.server.objects(prefix).keys() >= {"COMPLETE", ".metadata"}
    return facts(run.folder / "training")


def test_what_is_made_of_it_on_s3_is_what_is_made_of_it_on_a_disk(run, curated, tmp_path):
    """Needs the mixture and the checkpoints of the test before."""
    bucket, mixture = f"s3://{ceph.BUCKET}", read_mixture(f"{curated}/mixture.json")
    with cluster.session(2):
        for to in (f"{bucket}/plain", str(tmp_path / "plain")):
            section = MaterialiseConfig(to=to, batch=16, lanes=4, shard_samples=20)
            materialise.run(mixture, section, 48, 2)
    for to in (f"{bucket}/weights", str(tmp_path / "weights")):
        export.run(f"{bucket}/checkpoints", to, "float32")
    for name in ("plain", "weights"):
        assert run.server.objects(f"{name}/") == curation.contents(tmp_path / name)


def test_what_only_an_old_snapshot_has_is_pruned_on_s3(run, curated):
    newest, first = chain(read_snapshot(curated))
    old = {shard.path for shard in first.shards} - {shard.path for shard in newest.shards}
    assert old
    prune.delete(prune.look(curated, keep=1))
    assert not old & run.server.objects("dataset/").keys()
    with cluster.session(2):
        assert verify.run(curated).damages == []
    assert run("snapshots", curated).stdout.count("retired") == 1


def test_the_secret_is_in_nothing_that_was_said_or_written(run, curated):
    assert ceph.SECRET not in run.said
    assert "measure images" in run.said
    client = run.server.client()
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=ceph.BUCKET)["Contents"]]
    assert any("/runs/" in key for key in keys)
    for key in keys:
        data = client.get_object(Bucket=ceph.BUCKET, Key=key)["Body"].read()
        assert ceph.SECRET.encode() not in data, key
    for path in (run.folder / "training").rglob("*"):
        assert path.is_dir() or ceph.SECRET.encode() not in path.read_bytes(), path
