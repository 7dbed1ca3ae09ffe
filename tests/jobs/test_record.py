"""What a run leaves beside the snapshots, however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import metrics
from jobs.record import recording
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


class Config(Settings):
    """Of a job that could be."""

    sources: tuple[str, ...] = ("data/*.tar",)


def records(dataset: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(dataset.glob("runs/*.json"))]


def test_a_run_leaves_its_times_counts_config_and_versions(tmp_path):
    with recording("curate", str(tmp_path), Config()) as record:
        for _ in range(2):
            with record.stage("write"):
                time.sleep(0.02)
        metrics.measured("image", 5, 700)
        record.note(snapshot="0123456789abcdef", counts={"kept": 3})
    (path,) = tmp_path.glob("runs/*")
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}\.\d{{3}}Z-curate-{os.getpid()}\.json", path.name)
    (found,) = records(tmp_path)
    assert (found["job"], found["outcome"]) == ("curate", "done")
    assert found["started"] <= found["finished"]
    assert (found["snapshot"], found["counts"]) == ("0123456789abcdef", {"kept": 3})
    assert 0.04 <= found["seconds"]["write"] < 10
    assert found["metrics"]["headrace_images_measured{family=image}"] == 5
    assert found["metrics"]["headrace_bytes_measured{family=image}"] == 700
    assert found["config"] == {"sources": ["data/*.tar"]}
    assert found["versions"].keys() >= {"headrace", "ray", "python", "pillow"}


def test_the_page_lists_the_fields_and_its_program_reads_them(tmp_path):
    dataset = tmp_path / "data" / "web"
    with pytest.raises(HeadraceError), recording("refresh", str(dataset), Config()) as record:
        record.note(snapshot="0123456789abcdef", parent=None, counts={"kept": 3})
        raise HeadraceError("stale parent")
    page = PAGE.read_text()
    _, rows = page.split("| field | what it says |\n| --- | --- |\n")
    cells = [row.split("|")[1] for row in rows.partition("\n\n")[0].splitlines()]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == records(dataset)[0].keys()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.S)
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "refresh failed {} {}" in said.stdout


def test_a_run_counts_only_what_it_did_itself(tmp_path):
    metrics.measured("image", 5, 700)
    with recording("measure", str(tmp_path), Config()):
        pass
    assert records(tmp_path)[0]["metrics"] == {}


def test_jobs_within_a_job_make_one_record_of_it(tmp_path):
    with recording("refresh", str(tmp_path), Config()):
        for job in ("measure", "write"):
            with recording(job, str(tmp_path), Config()) as record, record.stage(job):
                record.note(**{job: 1})
    (found,) = records(tmp_path)
    assert found["job"] == "refresh"
    assert found["seconds"].keys() == {"measure", "write"}
    assert found["measure"] == found["write"] == 1
    with recording("measure", str(tmp_path), Config()):
        pass
    assert {one["job"] for one in records(tmp_path)} == {"refresh", "measure"}


def test_a_failed_run_says_why_in_one_line_without_credentials(tmp_path):
    secret = "s3://key:word@bucket/pool.tar?X-Signature=word"
    with (
        pytest.raises(HeadraceError),
        recording("measure", str(tmp_path), Config(sources=(secret,))) as record,
        record.stage("measure"),
    ):
        raise HeadraceError(f"{secret}: not there; look again\nand more")
    (found,) = records(tmp_path)
    assert found["outcome"] == "failed"
    assert found["error"].startswith("s3://bucket/pool.tar")
    assert "\n" not in found["error"]
    assert found["config"] == {"sources": ["s3://bucket/pool.tar"]}
    assert "measure" in found["seconds"]
    assert "word" not in json.dumps(found)


def test_an_error_nobody_expected_is_named_by_its_kind(tmp_path):
    with pytest.raises(KeyError), recording("measure", str(tmp_path), Config()):
        raise KeyError("row")
    assert records(tmp_path)[0]["error"] == "KeyError: 'row'"


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
from jobs.record import recording
from tests.jobs.test_record import Config
with recording("fetch", sys.argv[1], Config()):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_an_interrupted_run_is_recorded_as_one(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
    assert records(tmp_path)[0]["outcome"] == "interrupted"


def test_a_store_that_refuses_the_record_fails_no_job(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with recording("write", str(tmp_path), Config()):
        pass
    said = capsys.readouterr().err
    assert said.startswith("warning: no record of this run: ")
    assert said.count("\n") == 1
