"""Jobs submitted to a cluster of separate processes, whose nodes go and come meanwhile."""

import json
import signal
import time

import pytest
import yaml

from tests.jobs import curation, ray_nodes

pytestmark = pytest.mark.slow

SECONDS = 250


@pytest.fixture(scope="module")
def nodes():
    """`first` has what the stage `image` of these tests asks for, `other` has not."""
    with ray_nodes.running() as found:
        found.start("first", pool=1)
        found.start("other")
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, headrace):
    """A working directory with a config, and what comes of it in peace, in `peace`."""
    folder = tmp_path_factory.mktemp("submitted")
    (folder / "denied.txt").write_text("# nobody\n" + "0" * 32 + "\n")
    deny = {"lists": {"deny": [{"kind": "uid", "file": "denied.txt"}]}}
    fields = curation.fields(folder / "peace")
    fields = fields | {"decide": fields["decide"] | deny}
    (folder / "peace.yaml").write_text(yaml.safe_dump(fields))
    stages = {"image": {"resources": {"pool": 1}}}
    there = fields | {"dataset": str(folder / "dataset"), "stages": stages}
    (folder / "curate.yaml").write_text(yaml.safe_dump(there))
    for name, changes in (
        ("broken", {"sources": [{"url": str(folder / "nothing-*.tar")}]}),
        ("greedy", {"stages": {"image": {"cpus": 64, "memory": 10**12}}}),
    ):
        fresh = {"dataset": str(folder / name)} | changes
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields | fresh))
    done = headrace.start("curate", "peace.yaml", "--workers", "1", cwd=folder)
    assert done.wait(SECONDS) == 0, done.communicate()
    return folder


def submit(headrace, nodes, folder, *words, **options):
    options = {"cwd": folder, "env": nodes.environment} | options
    return headrace.start("submit", *words, "--address", nodes.url, **options)


def hears_ctrl_c():
    """Also where the tests themselves were started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


def measured_on(nodes):
    """Names of the nodes that ran tasks of the stage `image`: each has a resource of its name."""
    has = {}
    for node in json.loads(nodes.ray("list", "nodes", "--format=json")):
        has[node["node_id"]] = {"first", "other", "late"} & node["resources_total"].keys()
    tasks = json.loads(nodes.ray("list", "tasks", "--format=json", "--limit=1000"))
    measuring = [task for task in tasks if task["name"] in ("_fast_task", "_careful_task")]
    return set().union(*(has[task["node_id"]] for task in measuring if task["node_id"]))


def test_a_node_lost_in_mid_job_and_one_that_joins_late_change_no_byte(nodes, folder, headrace):
    job = submit(headrace, nodes, folder, "curate", "curate.yaml", preexec_fn=hears_ctrl_c)
    wait_for(lambda: list(folder.glob("dataset/ledger/image/*/*.parquet")) or job.poll())
    nodes.lose("first")
    done_before = len(list(folder.glob("dataset/ledger/image/*/*.parquet")))

    job.send_signal(signal.SIGINT)  # nobody watches any more, and the job goes on
    _, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 130, err
    name = err.partition("is job ")[2].split()[0]
    assert f"ray job logs --follow --address {nodes.url} {name}" in err
    assert "Traceback" not in err

    nodes.start("late", pool=1)
    out = nodes.ray("job", "logs", "--follow", name)
    assert curation.contents(folder / "dataset") == curation.contents(folder / "peace"), out
    ran = measured_on(nodes)
    assert 0 < done_before < 7
    assert "late" in ran
    assert "other" not in ran


def test_a_submitted_job_shows_its_log_and_ends_with_its_exit_code(nodes, folder, headrace):
    done = submit(headrace, nodes, folder, "curate", "curate.yaml")
    broken = submit(headrace, nodes, folder, "curate", "broken.yaml")
    out, err = done.communicate(timeout=SECONDS)
    assert done.returncode == 0, out + err
    assert "measure: 0 parts to do, 7 already in the ledger" in out
    assert out.splitlines()[-1].startswith(f"file://{folder}/dataset/snapshots/")
    out, err = broken.communicate(timeout=SECONDS)
    assert broken.returncode == 1, out + err
    assert out.splitlines()[-1].startswith("error: "), out
    assert "nothing-*.tar" in out.splitlines()[-1]


def test_a_stage_that_no_node_can_run_ends_the_job_at_once_and_says_what_there_is(
    nodes, folder, headrace
):
    job = submit(headrace, nodes, folder, "curate", "greedy.yaml")
    out, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 1, out + err
    last = out.splitlines()[-1]
    assert last.startswith("error: stages.image: one task asks for 64 CPU, 1000000000000 memory")
    assert "1 CPU, 2000000000 memory, 1 other" in last


def test_a_token_that_the_cluster_does_not_know_is_one_line(nodes, folder, headrace, tmp_path):
    (tmp_path / "token").write_text("2" * 64)
    env = nodes.environment | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    job = submit(headrace, nodes, folder, "curate", "curate.yaml", env=env)
    out, err = job.communicate(timeout=SECONDS)
    assert job.returncode == 1
    assert out == ""
    assert err.startswith(f"error: {nodes.url}: the cluster refuses this machine's token; set RAY_")
    assert len(err.splitlines()) == 1
    assert "2222" not in err
