"""What is checked and packed before a job leaves this machine, and what comes back of it."""

import asyncio
import zipfile

import pytest
import yaml
from ray.job_submission import JobDetails

import jobs.cli  # noqa: F401  hangs every command on the app
from jobs import parcel, submit
from jobs.commands.submitting import parsed
from pipeline.format.errors import HeadraceError
from tests.jobs import curation


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a config, a list that it names, and much that it does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "denied.txt").write_text("0" * 32)
    (tmp_path / ".env").write_text("AWS_SECRET_ACCESS_KEY=hush")
    (tmp_path / "pool.tar").write_bytes(b"large")
    write(tmp_path)
    return tmp_path


def write(folder, dataset="s3://bucket/dataset", **changes):
    deny = {"lists": {"deny": [{"kind": "uid", "file": "lists/denied.txt"}]}}
    fields = curation.fields(dataset) | {"dataset": dataset, "decide": deny} | changes
    (folder / "web.yaml").write_text(yaml.safe_dump(fields))


def job(*words):
    name, arguments = parsed([*words])
    return submit.job(name, words, arguments)


def test_config_code_and_named_files_travel_and_nothing_else(folder):
    todo = job("curate", "web.yaml", "--dry-run")
    assert todo.words == ["curate", "web.yaml", "--dry-run"]
    assert sorted(todo.files) == ["lists/denied.txt", "web.yaml"]
    parcel.pack(folder / "one.zip", parcel.code() | todo.files)
    parcel.pack(folder / "two.zip", parcel.code() | todo.files)
    assert (folder / "one.zip").read_bytes() == (folder / "two.zip").read_bytes()
    names = set(zipfile.ZipFile(folder / "one.zip").namelist())
    assert names >= {"jobs/cli.py", "pipeline/report/report.html", "trainer/train.py", "web.yaml"}
    assert not [name for name in names if "demo_data" in name or "__pycache__" in name]
    assert (folder / "one.zip").stat().st_size < 2_000_000


def test_a_config_from_elsewhere_travels_under_its_own_name(folder, monkeypatch):
    (folder / "inner" / "lists").mkdir(parents=True)
    monkeypatch.chdir(folder / "inner")
    write(folder, decide={})
    todo = job("curate", "../web.yaml")
    assert todo.words == ["curate", "web.yaml"]
    assert list(todo.files) == ["web.yaml"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"dataset": "work/set"}, "dataset"), ({"sources": [{"url": "pool.tar"}]}, "sources.url")],
)
def test_data_in_this_folder_is_refused_as_no_machine_of_the_cluster_has_it(folder, changes, field):
    write(folder, **changes)
    with pytest.raises(HeadraceError, match=rf"web\.yaml: {field}: '.*' is a path in this folder"):
        job("curate", "web.yaml")


def test_a_file_outside_of_the_folder_is_refused(folder, monkeypatch):
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    deny = {"lists": {"deny": [{"kind": "uid", "file": "../lists/denied.txt"}]}}
    write(folder / "inner", decide=deny)
    with pytest.raises(HeadraceError, match=r"decide\.lists\.deny\.file: .* lies outside"):
        job("curate", "web.yaml")


def test_more_than_can_travel_is_refused_before_it_is_packed(folder):
    with (folder / "model.pt").open("wb") as file:
        file.truncate(parcel.LIMIT)
    with pytest.raises(HeadraceError, match=r"model\.pt: 500 MiB; .* 500 can travel"):
        parcel.pack(folder / "one.zip", parcel.code() | {"model.pt": folder / "model.pt"})
    assert not (folder / "one.zip").exists()


def test_a_training_is_one_on_ray_with_time_to_save(folder):
    (folder / "train.yaml").write_text(
        yaml.safe_dump(
            {
                "run": "/shared/run",
                "mixture": "s3://bucket/mixture.json",
                "model": "aim-demo",
                "steps": 10,
                "stream": {"batch": 8, "lanes": 4, "image_size": 64},
                "stop_within": 200,
            }
        )
    )
    todo = job("train", "train.yaml", "--nproc", "2")
    assert todo.words == ["train", "train.yaml", "--nproc", "2", "--ray"]
    assert job("train", "train.yaml", "--ray").words == ["train", "train.yaml", "--ray"]
    assert todo.stop_within == 200 + submit.MARGIN
    with pytest.raises(HeadraceError, match="fork: 'runs/old' is a path in this folder"):
        job("train", "train.yaml", "--fork", "runs/old")


@pytest.mark.parametrize("words", [("demo",), ("filter", "export", "a", "--out", "b"), ("filtre",)])
def test_what_is_no_job_for_a_cluster_is_said_so(folder, words):
    with pytest.raises(HeadraceError, match=rf"submit: {words[0]}"):
        job(*words)


def test_a_config_that_is_wrong_never_leaves_this_machine(folder):
    write(folder, deside={})
    with pytest.raises(HeadraceError, match="did you mean 'decide'"):
        job("curate", "web.yaml")


def details(status, code=None, message=None):
    fields = {"type": "SUBMISSION", "entrypoint": "", "status": status, "message": message}
    return JobDetails(**fields, driver_exit_code=code)


@pytest.mark.parametrize(("code", "ours"), [(0, 0), (1, 1), (70, 70), (75, 75), (-9, 137)])
def test_the_code_of_the_driver_is_ours(code, ours):
    assert submit._code(details("FAILED" if code else "SUCCEEDED", code), "name") == ours


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (details("STOPPED"), "job name was stopped"),
        (details("FAILED", None, "a\nno such package\n"), "could not run: no such package"),
    ],
)
def test_a_job_without_a_code_is_an_error(found, said):
    with pytest.raises(HeadraceError, match=said):
        submit._code(found, "name")


class Broken:
    """A cluster whose line breaks twice while the log grows."""

    def __init__(self):
        self.logs = [["one\n", "tw"], ["one\ntwo\n"], ["one\n", "two\nthree\n"]]

    async def tail_job_logs(self, name):
        for text in self.logs.pop(0):
            yield text
        if self.logs:
            raise RuntimeError("closed unexpectedly")

    def get_job_info(self, name):
        return details("RUNNING" if self.logs else "SUCCEEDED", None if self.logs else 0)


def test_a_log_whose_line_breaks_is_shown_once_and_whole(monkeypatch, capsys):
    monkeypatch.setattr(submit, "ASK_SECONDS", 0)
    ended = asyncio.run(submit._followed(Broken(), "name"))
    assert ended.driver_exit_code == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:hush@127.0.0.1:1", "http://127.0.0.1:1: no Ray answers here"),
        ("127.0.0.1:6379", "is no http URL"),
    ],
)
def test_an_address_where_no_cluster_is_costs_one_line(folder, monkeypatch, url, said):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    with pytest.raises(HeadraceError, match=said) as caught:
        submit.run(job("curate", "web.yaml"), url)
    assert "hush" not in str(caught.value)
