"""`headrace filter evaluate` on real pictures: resumable, accounted for, and the same each time."""

import io
import json
import math
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import torch
import yaml
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from jobs import cluster, evaluate, filter
from jobs.config import load
from jobs.judging import card
from jobs.judging.config import EvaluateConfig
from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import fingerprint
from pipeline.measure.image import ImageConfig
from pipeline.report import filters
from tests.jobs.curation import contents
from tests.jobs.test_filter import TINY, WEIGHTS
from tests.pipeline.measure.test_clip_model import save_model
from trainer.contrastive.config import FilterConfig


@pytest.fixture(scope="module", autouse=True)
def session():
    with cluster.session(2):
        yield


def some_pairs(source: Path, to: Path, count: int, **damage: bytes) -> Path:
    """The first pairs of a tar; of those named by place in `damage` (`_3`) that member's bytes."""
    with tarfile.open(source) as tar, tarfile.open(to, "w") as out:
        keys: list[str] = []
        for member in tar:
            key, _, ending = member.name.partition(".")
            if key not in keys:
                keys.append(key)
            if len(keys) > count:
                break
            data = tar.extractfile(member).read()
            kind = "text" if ending == "txt" else "json" if ending == "json" else "image"
            data = damage.get(f"{kind}_{len(keys) - 1}", data)
            info = tarfile.TarInfo(member.name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return to


@pytest.fixture(scope="module")
def work(tmp_path_factory, demo_data) -> Path:
    """Two tiny random filters, 40 pairs (one damaged, one without words), off-topic images."""
    work = tmp_path_factory.mktemp("evaluate")
    for seed, name in enumerate(("one", "two")):
        save_model(work / name, seed)
    trusted = demo_data / "trusted" / "00000005.tar"
    bad = {"image_3": b"<html>", "text_5": b"", "json_5": b"{}"}
    some_pairs(trusted, work / "trusted.tar", 40, **bad)
    some_pairs(demo_data / "target" / "val-00000.tar", work / "off.tar", 12)
    some_pairs(demo_data / "pool" / "00000000.tar", work / "pool.tar", 20)
    return work


def config(work: Path, folder: Path, *names: str, **changes) -> EvaluateConfig:
    fields = {
        "evaluation": str(folder),
        "filters": {name: {"model": f"local-dir:{work / name}"} for name in names or ("one",)},
        "trusted": [{"url": str(work / "trusted.tar")}],
        "off_topic": [{"url": str(work / "off.tar")}],
        "pools": [{"url": str(work / "pool.tar")}],
    }
    return EvaluateConfig.model_validate(fields | changes)


@pytest.fixture(scope="module")
def done(work) -> evaluate.Evaluation:
    return evaluate.run(config(work, work / "done"))


def ledger_of(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in contents(folder).items() if "ledger" in name}


@pytest.fixture(scope="module")
def both(work, done) -> evaluate.Evaluation:
    """A second filter beside the first, in the same folder."""
    before, written = ledger_of(work / "done"), times(work / "done")
    found = evaluate.run(config(work, work / "done", "one", "two"))
    assert written.items() <= times(work / "done").items()
    new = set(ledger_of(work / "done")) - set(before)
    assert sorted(name.split("/")[1] for name in new) == ["clip", "pairs", "pairs"]
    return found


def times(folder: Path) -> dict[Path, int]:
    """When each table of the ledger was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_second_run_measures_nothing_and_writes_the_same(work, done, capsys):
    before = contents(work / "done")
    evaluate.run(config(work, work / "done"))
    assert contents(work / "done") == before
    assert "everything is measured" in capsys.readouterr().err


def test_a_new_filter_measures_only_itself_and_changes_no_figure_of_the_first(done, both):
    assert both.figures["filters"]["one"] == done.figures["filters"]["one"]
    assert both.figures["ranking"]["sentence"]
    (pair,) = both.figures["overlap"]["pairs"]
    assert (pair["a"], pair["b"]) == ("one", "two")


def test_a_fraction_and_its_score_keep_the_same_rows(done, work):
    figures = done.figures
    cuts = {one["source"]: one["top"] for one in figures["cuts"]}
    assert set(cuts) == {str(work / "pool.tar"), "all pools"}
    mark = fingerprint(config(work, work).filters["one"], ImageConfig())
    (path,) = (work / "done" / "ledger" / "clip" / mark).glob("*.parquet")
    scores = np.array(pq.read_table(path)["clip_score"].drop_null())
    for one in cuts["all pools"]:
        assert one["rows"] == math.floor(one["fraction"] * len(scores) + 1e-9)
        assert (scores >= np.float32(one["threshold"])).sum() == one["rows"]
    assert [one["threshold"] for one in figures["filters"]["one"]["top"]] == sorted(
        (one["threshold"] for one in figures["filters"]["one"]["top"]), reverse=True
    )
    shown = " ".join(map(drawn, card.tables(figures)))
    page = Path(done.page.removeprefix("file://")).read_text()
    for one in [*cuts["all pools"], *figures["filters"]["one"]["top"]]:
        assert filters.cut(one["threshold"]) in shown
        assert filters.cut(one["threshold"]) in page


def drawn(table: Table | str) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_a_pool_that_cannot_be_read_is_accounted_for_and_the_rest_is_judged(work, tmp_path):
    some_pairs(work / "pool.tar", tmp_path / "bad.tar", 3, image_0=b"", image_1=b"x", image_2=b"y")
    pools = [{"url": str(tmp_path / "bad.tar")}, {"url": str(work / "pool.tar")}]
    found = evaluate.run(config(work, work / "done", pools=pools)).figures
    account = found["accounts"]["pools"][str(tmp_path / "bad.tar")]
    assert (account["given"], sum(account["unreadable"].values()), account["judged"]) == (3, 3, 0)
    tops = {one["source"].rpartition("/")[2]: one["top"][-1] for one in found["cuts"]}
    assert tops["bad.tar"] == {"fraction": 0.5, "rows": 0, "threshold": None}
    assert tops["all pools"] == tops["pool.tar"]


@pytest.mark.slow
def test_a_filter_whose_weights_are_nan_is_named(work, tmp_path):
    weights = load_file(work / "one" / WEIGHTS)
    shutil.copytree(work / "one", tmp_path / "nan")
    broken = {name: torch.full_like(one, torch.nan) for name, one in weights.items()}
    save_file(broken, tmp_path / "nan" / WEIGHTS)
    models = {"nan": {"model": f"local-dir:{tmp_path / 'nan'}"}}
    with pytest.raises(HeadraceError, match=r"filters\.nan: has no finite figure of any of the 38"):
        evaluate.run(config(work, work / "done", filters=models))


@pytest.mark.parametrize("format", ["webdataset", "parquet", "folder", "imagenet"])
def test_no_credential_of_a_url_gets_into_the_figures(work, tmp_path, format):
    pools = [{"url": "s3://user:secret@bucket/pool.tar", "format": format}]
    with pytest.raises(HeadraceError, match="carries credentials") as caught:
        evaluate.run(config(work, tmp_path / "out", pools=pools))
    assert "secret" not in str(caught.value)


def test_noise_that_cannot_be_made_is_named_by_its_field(work):
    with pytest.raises(HeadraceError, match=r"^noise\.off_topic: a rate of 0.4 needs 15"):
        evaluate.run(config(work, work / "done", noise={"off_topic": 0.4}))


@pytest.mark.slow
def test_a_trained_filter_beats_a_random_one(work, tmp_path, demo_data):
    fields = {
        "run": str(tmp_path / "run"),
        "pairs": [str(demo_data / "trusted" / f"0000000{n}.tar") for n in range(5)],
        "model": TINY,
        "stream": {"batch": 64, "lanes": 4, "image_size": 32, "augment": {"min_scale": 0.7}},
        "optimiser": {"lr": 3e-3},
        "steps": 60,
        "threads": 1,
    }
    trained = filter.train(FilterConfig.model_validate(fields))
    names = {"trained": trained, "random": f"local-dir:{work / 'one'}"}
    models = {name: {"model": model} for name, model in names.items()}
    trusted = [{"url": str(demo_data / "trusted" / "00000005.tar")}]
    found = evaluate.run(config(work, tmp_path / "out", filters=models, trusted=trusted, pools=[],
                                noise={"off_topic": 0})).figures["filters"]  # fmt: skip
    assert found["random"]["auc"]["high"] < found["trained"]["auc"]["value"]
    assert found["trained"]["auc"]["low"] > 0.5


def test_what_is_given_is_judged_or_named_by_what_it_lacks(done):
    accounts = done.figures["accounts"]
    trusted = accounts["trusted"]
    assert trusted["given"] == 40
    assert trusted["without_caption"] == 1
    assert trusted["judged"] == 38
    assert sum(trusted["unreadable"].values()) == 1
    for account in (trusted, accounts["off_topic"], *accounts["pools"].values()):
        rest = ("without_caption", "not_drawn", "unscored", "judged")
        parts = sum(account[name] for name in rest) + sum(account["unreadable"].values())
        assert parts == account["given"] > 0
    assert sum(done.figures["noise"]["rows_of_kind"].values()) == 38


def test_a_random_model_knows_nothing(done):
    found = done.figures["filters"]["one"]["auc"]
    assert found["low"] < 0.5 < found["high"]


def test_the_file_is_json_of_all_figures(work):
    found = evaluate.run(config(work, work / "done"))
    text = Path(found.url.removeprefix("file://")).read_text()
    assert "NaN" not in text
    assert json.loads(text) == found.figures


def test_fewer_pairs_are_drawn_by_key(work, done):
    one = evaluate.run(config(work, work / "done", most_pairs=20)).figures
    other = evaluate.run(config(work, work / "done", most_pairs=20, seed=1)).figures
    assert one["accounts"]["trusted"]["not_drawn"] == 18
    assert one["filters"] != other["filters"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"off_topic": [], "noise": {"off_topic": 0.1}}, "off_topic names no images"),
        ({"noise": {"shuffled": 0.9}}, "lower one"),
        ({"fractions": [0]}, "a top fraction is above 0"),
        ({"filters": {}}, "filters: "),
        ({"filters": {" ": {"model": "a"}}}, "give the filter a name"),
    ],
)
def test_a_config_that_cannot_be_judged_says_what_to_change(work, tmp_path, changes, words):
    fields = config(work, tmp_path / "evaluation").model_dump(mode="json") | changes
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(HeadraceError, match=words):
        load(str(tmp_path / "judge.yaml"), EvaluateConfig)


def test_a_filter_that_is_not_there_is_named_by_its_field(work, tmp_path):
    with pytest.raises(HeadraceError, match=r"filters\.none\.model"):
        evaluate.run(config(work, tmp_path, "none"))


@pytest.mark.slow
def test_one_pair_is_too_few_and_trusted_images_are_not_off_topic(work, tmp_path, demo_data):
    one = some_pairs(demo_data / "trusted" / "00000005.tar", tmp_path / "one.tar", 1)
    with pytest.raises(HeadraceError, match="trusted: 1 given"):
        evaluate.run(config(work, tmp_path / "out", trusted=[{"url": str(one)}]))
    with pytest.raises(HeadraceError, match="under trusted, too"):
        evaluate.run(config(work, tmp_path / "out", off_topic=[{"url": str(work / "trusted.tar")}]))


def test_a_dry_run_says_what_is_to_do_and_writes_nothing(work, tmp_path, capsys):
    evaluate.dry_run(config(work, tmp_path / "out"))
    assert "pairs by one: 2 parts to do" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert ray.is_initialized()


@pytest.mark.slow
def test_a_killed_evaluation_is_resumed_to_the_same_bytes(work, tmp_path, headrace):
    fields = config(work, tmp_path / "killed", "one", "two").model_dump(mode="json")
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(fields))
    process = headrace.start("filter", "evaluate", tmp_path / "judge.yaml", "--workers", "1")
    while not list(tmp_path.glob("killed/ledger/pairs/*/*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / "evaluation.json").exists()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = headrace("filter", "evaluate", tmp_path / "judge.yaml", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    evaluate.run(config(work, tmp_path / "whole", "one", "two"))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
