"""`headrace stream`: the plan of a run by arithmetic alone, and the comparison of two."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from jobs import stream
from jobs.config import load
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from tests.pipeline.report.curated import curate, photo, write_tar
from trainer import proof
from trainer.config import TrainConfig
from trainer.proof import Proof
from trainer.stream.stream import Stream

STEPS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two snapshots, a mixture of them and a training config; nothing changes them."""
    folder = tmp_path_factory.mktemp("stream")
    sources = []
    for name, count, weight in (("web", 13, 4), ("trusted", 5, 1)):
        samples = [(f"{name}{n}", photo(n + 50 * weight), "two words") for n in range(count)]
        write_tar(folder / f"{name}.tar", samples)
        snapshot = curate(folder / name, str(folder / f"{name}.tar"))
        sources.append(Source(name, snapshot.url, weight, snapshot.samples))
    (folder / "mixture.json").write_bytes(mixture_bytes(Mixture(tuple(sources))))
    model = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
    fields = {
        "run": str(folder / "run"),
        "mixture": str(folder / "mixture.json"),
        "model": model | {"head_width": 32, "head_depth": 1},
        "stream": {"batch": 12, "lanes": 6, "image_size": 32, "block": {"web": 2, "trusted": 1}},
        "steps": STEPS,
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(fields))
    return folder


@pytest.fixture(scope="module")
def config(folder) -> TrainConfig:
    return load(str(folder / "train.yaml"), TrainConfig)


@pytest.fixture(scope="module")
def batches(config) -> list:
    """What the stream delivers."""
    with Stream(config.mixture, config.stream) as loader:
        return list(itertools.islice(loader, STEPS))


def test_the_plan_is_what_the_stream_then_delivers(config, batches):
    planned = stream.plan(config, STEPS, 0, 1)
    for step, batch in zip(planned["steps"], batches, strict=True):
        assert step["step"] == batch.step
        for number, source in enumerate(step["sources"].values()):
            mine = batch.sources == number
            assert source["samples"] == mine.sum()
            assert source["epochs"] == sorted(set(batch.epochs[mine].tolist()))


def test_a_plan_from_a_later_step_counts_what_came_before(config, batches):
    planned = stream.plan(config, 2, STEPS - 2, 1)
    assert [step["step"] for step in planned["steps"]] == [STEPS - 2, STEPS - 1]
    drawn = Counter(source for batch in batches for source in batch.sources.tolist())
    shares = planned["shares"]
    assert [share["drawn"] for share in shares.values()] == [drawn[0], drawn[1]]
    assert shares["web"]["share"] == drawn[0] / (12 * STEPS)
    assert [share["ratio"] for share in shares.values()] == [0.8, 0.2]


def test_blocks_opened_over_an_epoch_are_all_its_blocks(config):
    steps = stream.plan(config, 60, 0, 1)["steps"]
    opened = sum(step["sources"]["trusted"]["blocks"] for step in steps)
    drawn = sum(step["sources"]["trusted"]["samples"] for step in steps)
    assert opened == drawn, "a block of one sample is opened for every sample"
    web = [step["sources"]["web"] for step in steps]
    assert sum(s["samples"] for s in web) / 2 <= sum(s["blocks"] for s in web)
    assert sum(s["blocks"] for s in web) < sum(s["samples"] for s in web)


def test_a_plan_begins_where_the_newest_checkpoint_goes_on(config, tmp_path):
    run = config.model_copy(update={"run": str(tmp_path)})
    assert stream.plan(run, 1, None, 1)["steps"][0]["step"] == 0
    marker = tmp_path / "checkpoints" / "00000040" / "COMPLETE"
    marker.parent.mkdir(parents=True)
    marker.write_text(json.dumps({"step": 40, "stream": {"step": 7}}))
    assert stream.plan(run, 1, None, 1)["steps"][0]["step"] == 7


def test_a_plan_reads_no_image_and_no_index(config, tmp_path, folder, headrace_here):
    for name in ("web", "trusted"):
        (source,) = (folder / name).glob("snapshots/*/manifest.json")
        copy = tmp_path / source.relative_to(folder)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(source.read_bytes().replace(str(folder).encode(), str(tmp_path).encode()))
    text = (folder / "mixture.json").read_text().replace(str(folder), str(tmp_path))
    (tmp_path / "mixture.json").write_text(text)
    fields = yaml.safe_load((folder / "train.yaml").read_text())
    fields["mixture"] = str(tmp_path / "mixture.json")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(fields))
    words = ("stream", "plan", tmp_path / "train.yaml", "--steps", "3", "--from", "2")
    as_json = headrace_here(*words, "--json", "--ranks", "2")
    assert as_json.returncode == 0, as_json.stderr
    planned = json.loads(as_json.stdout)
    assert planned["steps"] == stream.plan(config, 3, 2, 2)["steps"]
    whole = stream.plan(config, 3, 2, 1)["peak_bytes"]
    assert 0 < planned["peak_bytes"]["blocks"] < whole["blocks"]
    lines = headrace_here(*words).stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["step", "2", "3", "4"]
    assert "its ratio is 80.0000%" in lines[4]
    assert f"at most {sum(whole.values()) / 1e6:,.1f} MB on each of 1 ranks: blocks" in lines[-1]


def test_the_memory_is_that_of_the_rank_with_the_most_lanes(config):
    of_four, of_three = (stream.plan(config, 1, 0, ranks)["peak_bytes"] for ranks in (4, 3))
    assert of_four == of_three, "two of six lanes"


def test_a_mixture_that_runs_ahead_says_so(config):
    planned = stream.plan(config, 1, 0, 1)
    assert planned["worst_error"] < 1
    assert "rounder ratios" not in "\n".join(stream.plan_lines(planned))
    assert "rounder ratios" in "\n".join(stream.plan_lines(planned | {"worst_error": 49.8}))


def write_run(folder: Path, digests: list[int], **stream_fields) -> str:
    folder.mkdir()
    fields = {"run": str(folder), "steps": 5, "stream": {"seed": 0, "lanes": 4} | stream_fields}
    (folder / "config.json").write_text(json.dumps(fields))
    written = Proof(folder / proof.NAME, 0)
    written.write(digests)
    written.close()
    return str(folder)


def test_two_runs_that_were_fed_the_same_are_equal_whatever_their_configs(tmp_path, headrace_here):
    left = write_run(tmp_path / "a", [1, 2, 3])
    right = write_run(tmp_path / "b", [1, 2, 3], threads=9)
    done = headrace_here("stream", "verify", left, right)
    assert (done.returncode, done.stdout) == (0, "equal: 3 steps\n")


def test_the_first_step_that_differs_is_named_with_what_explains_it(tmp_path, headrace_here):
    left = write_run(tmp_path / "a", [1, 2, 3, 4])
    right = write_run(tmp_path / "b", [1, 2, 7, 8], seed=5)
    done = headrace_here("stream", "verify", left, right)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"step 2 is the first that differs: {3:032x} and {7:032x}",
        "stream.seed: 0 and 5",
    ]


def test_the_shorter_run_is_named(tmp_path):
    left, right = write_run(tmp_path / "a", [1, 2, 3]), write_run(tmp_path / "b", [1, 2])
    same, lines = stream.verify(left, right)
    assert not same
    assert lines == [f"equal until {right} ends, after 2 steps; the other has 3"]


def test_a_folder_without_a_proof_is_one_clear_line(tmp_path):
    with pytest.raises(HeadraceError, match=r"delivered\.txt: no such file"):
        stream.verify(write_run(tmp_path / "a", [1]), str(tmp_path))
