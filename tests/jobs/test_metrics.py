"""What Prometheus finds at a Ray node while and after a job counts."""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import metrics
from tests.chaos.cluster import OPTIONS, RAY, free_port
from tests.chaos.processes import kill_session
from tests.conftest import DEMO_DATA
from tests.jobs import curation
from tests.jobs.test_record import records

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
TAR = DEMO_DATA / "pool" / "00000000.tar"
WAIT = 30
"""Seconds until the numbers of a driver must be there; Ray sends them when it leaves."""


@contextmanager
def head(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """A Ray of one node: the environment of drivers, and the URL that Prometheus reads."""
    (folder / "token").write_text("2" * 64)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment = os.environ | token | {"RAY_USAGE_STATS_ENABLED": "0"}
    gcs, export = free_port(), free_port()
    ports = [f"--port={gcs}", f"--metrics-export-port={export}", f"--temp-dir={folder}/ray"]
    words = ["--head", "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--num-cpus=2"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [RAY, "start", *words, *ports, *OPTIONS],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        while "--block" not in (folder / "log").read_text():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        address = {"RAY_ADDRESS": f"127.0.0.1:{gcs}"}
        yield environment | address, f"http://127.0.0.1:{export}/metrics"
    finally:
        kill_session(process.pid)


def scraped(url: str) -> dict[str, float]:
    """Our samples of a page, by `name{label=value}` without the labels that Ray adds."""
    with urllib.request.urlopen(url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    ours = re.compile(r"(ray_headrace_\w+)\{(.*)\} (\S+)")
    found = {}
    for name, labels, value in filter(None, (m and m.groups() for m in map(ours.match, lines))):
        known = {key for key, _ in (metrics.COUNTERS | metrics.GAUGES).values()}
        own = [f"{k}={v}" for k, v in re.findall(r'(\w+)="([^"]*)"', labels) if k in known]
        found[f"{name}{{{','.join(own)}}}"] = float(value)
    return found


@pytest.mark.slow
def test_a_curation_leaves_its_true_counts_with_ray_and_in_its_record(headrace):
    with tempfile.TemporaryDirectory(prefix="ray") as short:  # Ray's sockets lie below it
        folder = Path(short)
        with head(folder) as (environment, url):
            config = curation.config_file(folder, sources=[{"url": str(TAR)}], decide={})
            process = headrace.start("curate", config, env=environment)
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            deadline = time.monotonic() + WAIT
            while not (found := scraped(url)) and time.monotonic() < deadline:
                time.sleep(0.5)
        (record,) = records(folder / "dataset")
    counted = {name.replace("{", "_total{"): n for name, n in record["metrics"].items()}
    assert {k: v for k, v in found.items() if "_total{" in k} == pytest.approx(
        {f"ray_{name}": n for name, n in counted.items()}, abs=0.001
    )
    kept = record["counts"]["kept"]
    assert found["ray_headrace_images_decided_total{verdict=kept}"] == kept
    assert found["ray_headrace_images_written_total{stage=write shards}"] == kept
    pool = sum(record["counts"].values())
    assert found["ray_headrace_images_measured_total{family=image}"] == pool
    assert found["ray_headrace_bytes_measured_total{family=image}"] == TAR.stat().st_size
    assert found["ray_headrace_work_left{work=measure images}"] == 0
    assert "measure images: 1/1 parts\n" in err  # plain lines, where no terminal is
    assert "warning" not in err
    assert "\x1b" not in err


def test_counting_without_ray_loads_none_and_is_for_the_record_alone():
    program = """
import sys
from jobs import metrics
from jobs.console import progress
metrics.measured("image", 5, 0)
with progress("count", 2, "parts") as advance:
    advance(2)
print(metrics.since({}), "ray" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == "{'headrace_images_measured{family=image}': 5} False\n"
    assert said.stderr == "count: 2/2 parts\n"


def test_the_page_lists_every_metric_as_it_is():
    rows = re.findall(
        r"^\| `ray_(headrace_\w+)` \| (\w+) \| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.M
    )
    listed = {(name.removesuffix("_total"), kind, label, what) for name, kind, label, what in rows}
    counters = {(name, "counter", *told) for name, told in metrics.COUNTERS.items()}
    gauges = {(name, "gauge", *told) for name, told in metrics.GAUGES.items()}
    assert listed == counters | gauges
    assert all(name.endswith("_total") for name, kind, *_ in rows if kind == "counter")
