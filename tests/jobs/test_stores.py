"""Stores that fail in the midst of a job: a clear message, no half snapshot, and a way on."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from jobs import curate
from tests.jobs import curation, door

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    dataset = tmp_path_factory.mktemp("undisturbed") / "dataset"
    curate.run(curation.config(dataset), workers=2)
    return curation.contents(dataset)


def failed(process: subprocess.Popen) -> str:
    """What a job that must fail cleanly says last."""
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    assert "Traceback" not in err, err
    assert err.splitlines()[-1].startswith("error: "), err
    return err.splitlines()[-1]


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server():
    with door.s3() as (way, environment):
        yield way, environment


@pytest.mark.parametrize("moment", ["ledger/", "shards/"])
def test_a_store_that_begins_to_refuse_ends_the_job_and_is_gone_on_with(
    server, tmp_path, headrace, undisturbed, moment
):
    way, environment = server
    name = f"{moment.strip('/')}-dataset"
    url = f"s3://{door.BUCKET}/{name}"
    config = tmp_path / "curate.yaml"
    config.write_text(yaml.safe_dump(curation.fields(url)))
    options = {"env": os.environ | environment}
    process = headrace.start("curate", config, "--workers", "2", **options)
    wait_for(lambda: any(f"{name}/{moment}" in key for key in door.names(way)), process)
    way.shut()
    try:
        message = failed(process)
    finally:
        way.unlock()
    assert f"s3://{door.BUCKET}/{name}" in message
    assert "not-a-secret" not in message
    assert not {"LATEST", "manifest.json"} & {path.rpartition("/")[2] for path in made(way, name)}
    again = headrace.start("curate", config, "--workers", "2", **options)
    _, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    assert made(way, name) == undisturbed


def made(way: door.Door, dataset: str) -> dict[str, str]:
    """What `curation.contents` tells of a dataset in the bucket."""
    return {
        key.removeprefix(f"{dataset}/"): hashlib.sha256(data).hexdigest()
        for key, data in door.objects(way).items()
        if key.startswith(f"{dataset}/") and not key.startswith(f"{dataset}/runs/")
    }


def test_a_pool_that_begins_to_refuse_ends_the_job(server, tmp_path, headrace):
    way, environment = server
    pool = curation.DEMO_DATA / "pool"
    client = door.client(way.behind)
    for tar in sorted(pool.glob("*.tar")):
        client.upload_file(str(tar), door.BUCKET, f"pool/{tar.name}")
    sources = [{"url": f"s3://{door.BUCKET}/pool/*.tar"}]
    config = curation.config_file(tmp_path, sources=sources)
    env = os.environ | environment
    process = headrace.start("curate", config, "--workers", "1", env=env)
    wait_for(lambda: list((tmp_path / "dataset").rglob("*.parquet")), process)
    way.shut()
    try:
        message = failed(process)
    finally:
        way.unlock()
    assert f"s3://{door.BUCKET}/pool/" in message
    assert not (tmp_path / "dataset" / "LATEST").exists()


@pytest.fixture
def disk(tmp_path):
    """Mounts a small disk where the dataset is to lie."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(dataset)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
        return dataset

    yield mount
    subprocess.run(["umount", "-l", str(dataset)], check=False)


@pytest.mark.parametrize("size", ["200k", "1500k"], ids=["while measuring", "while writing"])
def test_a_full_disk_ends_the_job_and_more_room_lets_it_go_on(
    disk, tmp_path, headrace, undisturbed, size
):
    dataset = disk(size)
    config = curation.config_file(tmp_path)
    message = failed(headrace.start("curate", config, "--workers", "2"))
    assert str(dataset) in message
    assert "the disk is full; free some space" in message
    assert not (dataset / "LATEST").exists()
    assert not list(dataset.rglob("manifest.json"))
    assert not list(dataset.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(dataset)], check=True)
    again = headrace("curate", config, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert curation.contents(dataset) == undisturbed


@pytest.mark.parametrize("after", ["nothing", "measure"])
def test_a_read_only_store_ends_the_job_with_its_reason(disk, tmp_path, headrace, after):
    dataset = disk("64m")
    config = curation.config_file(tmp_path)
    if after == "measure":
        assert headrace("measure", config, "--workers", "2").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(dataset)], check=True)
    message = failed(headrace.start("curate", config, "--workers", "2"))
    assert str(dataset) in message
    assert "the store is read-only; write somewhere else" in message
