"""Bad input gets one line that names the file, the field and the fix."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from jobs import cluster
from jobs.config import CurateConfig, MixConfig, load
from jobs.judging.config import EvaluateConfig
from pipeline.format.errors import HeadraceError
from tests.jobs import curation

ROOT = Path(__file__).parents[2]


def problem(tmp_path, fields, model=CurateConfig) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(HeadraceError) as caught:
        load(str(path), model)
    assert "bad.yaml" in str(caught.value)
    return str(caught.value)


TWICE = """\
evaluation: work/out
filters:
  mine: {model: "local-dir:one"}
  mine: {model: "local-dir:two"}
trusted: [{url: a.tar}]
"""

MERGED = """\
evaluation: work/out
filters:
  one: &one {<<: &base {model: m, batch: 4}, batch: 8}
  two: {<<: *one, batch: 16}
  three: {<<: *base, model: other}
trusted: [{url: a.tar}]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [(TWICE, "'mine' is given twice.* line 4"), ("seed: 1\nseed: 2\n", "'seed' is.* line 2")],
)
def test_a_name_given_twice_is_refused_by_its_file_and_line(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(HeadraceError, match=rf"bad\.yaml: .*{words}"):
        load(str(path), EvaluateConfig)


def test_what_a_merge_brings_may_be_replaced(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(MERGED)
    found = load(str(path), EvaluateConfig).filters
    batches = {name: (one.model, one.batch) for name, one in found.items()}
    assert batches == {"one": ("m", 8), "two": ("m", 16), "three": ("other", 4)}


def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path):
    fields = curation.fields(tmp_path)
    fields["decide"]["duplicates"] = {"radus": 31}
    message = problem(tmp_path, fields)
    assert "decide.duplicates.radus" in message
    assert "did you mean 'radius'?" in message


def test_every_fault_is_named_at_once(tmp_path):
    message = problem(tmp_path, {"dataset": "x", "source": [], "write": {"shard_samples": 0}})
    assert len(message.splitlines()) == 3
    assert "did you mean 'sources'?" in message
    assert "write.shard_samples" in message


def test_a_wrong_type_names_its_field(tmp_path):
    fields = curation.fields(tmp_path, write={"shard_samples": "many"})
    assert "write.shard_samples" in problem(tmp_path, fields)


def test_a_cut_without_a_model_is_refused_before_any_work(tmp_path):
    fields = curation.fields(tmp_path, decide={"cuts": [{"top_fraction": 0.15}]})
    assert "no model is named under measure.clip" in problem(tmp_path, fields)


def test_a_fact_that_nothing_measures_is_refused_with_the_nearest_name(tmp_path):
    fields = curation.fields(tmp_path, decide={"rules": {"ranges": {"sharpnes": {"min": 3}}}})
    assert "sharpnes is wanted, and nothing under measure gives it; did you mean 'sharpness'?" in (
        problem(tmp_path, fields)
    )


def test_a_bound_on_what_is_no_number_is_refused(tmp_path):
    fields = curation.fields(tmp_path, decide={"safety": {"max": {"caption": 0.1}}})
    assert "caption holds string, and only numbers are compared" in problem(tmp_path, fields)


def test_a_models_score_may_be_used_and_its_columns_must_be_its_own(tmp_path):
    safe = {"safety": {"max": {"nsfw": 0.1}}}
    models = {"nsfw": {"kind": "opennsfw"}}
    fields = curation.fields(tmp_path, decide=safe, measure={"models": models})
    CurateConfig.model_validate(fields)
    for name in ("width", "clip", "NSFW"):
        fields = curation.fields(tmp_path, measure={"models": {name: {"kind": "opennsfw"}}})
        assert name in problem(tmp_path, fields)


@pytest.mark.parametrize("recipe", sorted((ROOT / "jobs/recipes/datacomp").glob("*.yaml")))
def test_datacomps_recipes_are_good_configs(recipe):
    load(str(recipe), CurateConfig)


def test_two_mixture_sources_of_one_name_are_refused(tmp_path):
    source = {"name": "web", "snapshot": "x", "ratio": 1}
    message = problem(tmp_path, {"mixture": "m.json", "sources": [source, source]}, MixConfig)
    assert "same name" in message


def test_a_mixture_that_no_training_would_know_as_one_is_not_published(tmp_path):
    source = {"name": "web", "snapshot": "x", "ratio": 1}
    message = problem(tmp_path, {"mixture": "/m/plus", "sources": [source]}, MixConfig)
    assert "bad.yaml: mixture: '/m/plus' does not end in .json" in message
    assert "write /m/plus.json" in message


def test_a_missing_file_and_broken_yaml_are_named(tmp_path):
    with pytest.raises(HeadraceError, match=r"nowhere\.yaml"):
        load(str(tmp_path / "nowhere.yaml"), CurateConfig)
    (tmp_path / "broken.yaml").write_text("dataset: [")
    with pytest.raises(HeadraceError, match="not valid YAML"):
        load(str(tmp_path / "broken.yaml"), CurateConfig)


@pytest.fixture(scope="module")
def one_worker():
    """A Ray for the commands of several tests."""
    with cluster.session(1):
        yield


def run_and_fail(headrace, tmp_path, **changes) -> str:
    """Runs a curation that must fail cleanly; returns what it says."""
    done = headrace("curate", curation.config_file(tmp_path, **changes))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "dataset").rglob("manifest.json"))
    assert not list((tmp_path / "dataset").rglob("*.partial"))
    return done.stderr.splitlines()[-1]


def test_a_missing_source_is_named(headrace_here, one_worker, tmp_path):
    message = run_and_fail(headrace_here, tmp_path, sources=[{"url": str(tmp_path / "none-*.tar")}])
    assert "none-*.tar" in message
    assert "check the path" in message


def test_an_unreadable_store_is_named(headrace, tmp_path, monkeypatch):
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),  # the discard port: nothing listens
        ("AWS_MAX_ATTEMPTS", "1"),
    ):
        monkeypatch.setenv(name, value)
    message = run_and_fail(headrace, tmp_path, sources=[{"url": "s3://bucket/0.tar"}])
    assert "s3://bucket/0.tar" in message
    assert "not-a-secret" not in message


def test_a_full_disk_is_named_and_leaves_nothing_half_written(headrace_here, one_worker, tmp_path):
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(dataset)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        message = run_and_fail(headrace_here, tmp_path)
        assert str(dataset) in message
        assert "disk is full" in message
    finally:
        subprocess.run(["umount", str(dataset)], check=True)


def test_a_source_that_changes_after_measuring_is_noticed(
    tmp_path, demo_data, headrace_here, one_worker
):
    """The part's name holds size and time; a change behind both still cannot enter a shard."""
    tar = tmp_path / "0.tar"
    tar.write_bytes((demo_data / "pool" / "00000000.tar").read_bytes())
    times = (1_700_000_000, 1_700_000_000)
    os.utime(tar, times)
    config = curation.config_file(tmp_path, sources=[{"url": str(tar)}])
    assert headrace_here("measure", config).returncode == 0
    data = bytearray(tar.read_bytes())
    data[1024:200_000] = bytes(len(data[1024:200_000]))
    tar.write_bytes(data)
    os.utime(tar, times)
    done = headrace_here("write", config)
    assert done.returncode == 1
    assert "is not what was measured" in done.stderr
