"""The line over the whole demo pool: nothing lost, nothing doubled, the same bytes every time."""

import json
from collections import Counter
from pathlib import Path

import open_clip
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from safetensors.torch import save_file

from jobs import cluster, curate, why
from pipeline import plan
from pipeline.format.snapshot import Snapshot
from tests.jobs import curation

UNREADABLE = {"truncated", "html", "bomb", "archive_damaged"}


def tiny_clip(folder: Path) -> str:
    """A randomly initialised CLIP as open_clip saves one: scores mean nothing, but are scores."""
    fields = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "patch_size": 16,
            "layers": 1,
            "width": 32,
            "head_width": 16,
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 16,
            "heads": 1,
            "layers": 1,
        },
    }
    torch.manual_seed(0)
    folder.mkdir()
    save_file(open_clip.CLIP(**fields).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": fields}))
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> dict:
    """A config section that scores with the tiny model and keeps the upper half."""
    folder = tmp_path_factory.mktemp("model")
    clip = {"model": tiny_clip(folder / "clip")}
    decide = curation.fields(folder)["decide"] | {"cuts": [{"top_fraction": 0.5}]}
    return {"measure": {"clip": clip}, "decide": decide}


@pytest.fixture(scope="module", autouse=True)
def one_worker():
    """A Ray of one processor for every curation in this process."""
    with cluster.session(1):
        yield


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory, scored) -> Snapshot:
    """The demo pool curated with one worker."""
    dataset = tmp_path_factory.mktemp("one") / "dataset"
    return curate.run(curation.config(dataset, **scored), workers=1)


@pytest.fixture(scope="module")
def truth(demo_data) -> list[dict]:
    return pq.read_table(demo_data / "truth.parquet").to_pylist()


@pytest.fixture(scope="module")
def verdicts(snapshot) -> list[dict]:
    return plan.read(snapshot.url).to_pylist()


def local(snapshot: Snapshot) -> Path:
    return Path(snapshot.url.removeprefix("file://"))


def test_every_pool_image_has_exactly_one_verdict(truth, verdicts):
    def place(row, shard):
        return (shard, row["key"])

    injected = Counter(
        place(row, row["shard"]) for row in truth if row["kind"] != "archive_damaged"
    )
    judged = Counter(place(row, row["source"].rpartition("/")[2]) for row in verdicts if row["key"])
    assert judged == injected
    assert max(judged.values()) == 1
    damaged = [row for row in verdicts if not row["key"]]
    assert [row["reason"] for row in damaged] == ["unreadable"]
    assert all((row["reason"] is None) == row["keep"] for row in verdicts)


def test_counts_add_up_to_the_pool_in_plan_manifest_and_shards(snapshot, verdicts, truth):
    assert sum(snapshot.counts.values()) == len(verdicts) == len(truth)
    kept = sum(row["keep"] for row in verdicts)
    assert snapshot.counts["kept"] == kept == snapshot.samples


def test_what_cannot_be_read_is_exactly_what_was_broken(truth, verdicts):
    broken = {
        (row["shard"], "" if row["kind"] == "archive_damaged" else row["key"])
        for row in truth
        if row["kind"] in UNREADABLE
    }
    named = {
        (row["source"].rpartition("/")[2], row["key"])
        for row in verdicts
        if row["reason"] == "unreadable"
    }
    assert named == broken


def test_every_evaluation_image_in_the_pool_is_named_as_one(truth, verdicts):
    reasons = {(row["source"].rpartition("/")[2], row["key"]): row for row in verdicts}
    planted = [row for row in truth if row["kind"] == "in_target_val"]
    for row in planted:
        verdict = reasons[row["shard"], row["key"]]
        assert verdict["reason"] == "contaminated"
        assert row["of"] in verdict["detail"]


def test_the_cut_keeps_half_of_all_scored_rows_to_the_row(snapshot, verdicts):
    no_score = {"no_score", "unreadable"}
    scored = sum(row["reason"] not in no_score for row in verdicts)
    assert snapshot.counts["low_score"] <= scored - scored // 2
    before_the_cut = {"contaminated", "too_small", "extreme_aspect", "caption_too_short"}
    elsewhere = sum(row["reason"] in before_the_cut for row in verdicts)
    assert snapshot.counts["low_score"] >= scored - scored // 2 - elsewhere


def test_two_workers_make_the_same_bytes_as_one(snapshot, scored, tmp_path, headrace):
    done = headrace("curate", curation.config_file(tmp_path, **scored), "--workers", "2")
    assert done.returncode == 0, done.stderr
    one = Path(snapshot.dataset.removeprefix("file://"))
    assert curation.contents(tmp_path / "dataset") == curation.contents(one)


def test_running_again_measures_nothing_and_publishes_nothing_new(snapshot, scored):
    dataset = Path(snapshot.dataset.removeprefix("file://"))
    times = {path: path.stat().st_mtime_ns for path in dataset.rglob("*.parquet")}
    ledger = {path: time for path, time in times.items() if "ledger" in path.parts}
    again = curate.run(curation.config(dataset, **scored), workers=1)
    assert again == snapshot
    assert {path: path.stat().st_mtime_ns for path in ledger} == ledger


def test_another_cut_decides_anew_without_measuring(snapshot, scored):
    dataset = Path(snapshot.dataset.removeprefix("file://"))
    ledger = {path: path.stat().st_mtime_ns for path in (dataset / "ledger").rglob("*.parquet")}
    wider = scored | {"decide": scored["decide"] | {"cuts": [{"top_fraction": 0.9}]}}
    other = curate.run(curation.config(dataset, **wider), workers=1)
    assert other.id != snapshot.id
    assert other.samples > snapshot.samples
    assert {path: path.stat().st_mtime_ns for path in ledger} == ledger
    assert (local(snapshot) / "manifest.json").exists()


def test_the_stock_webdataset_reader_reads_the_shards(snapshot, verdicts):
    dataset = Path(snapshot.dataset.removeprefix("file://"))
    urls = [str(dataset / shard.path) for shard in snapshot.shards]
    assert len(urls) > 1
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [
        row["shard_key"] for row in verdicts if row["keep"]
    ]


def test_an_open_clip_style_pipeline_decodes_the_shards(snapshot):
    dataset = Path(snapshot.dataset.removeprefix("file://"))
    urls = [str(dataset / shard.path) for shard in snapshot.shards]
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(urls),
        webdataset.tarfile_to_samples(),
        webdataset.decode("pilrgb"),
        webdataset.rename(image="jpg;png;jpeg;webp", text="txt"),
        webdataset.to_tuple("image", "text"),
    )
    pairs = list(pipeline)
    assert len(pairs) == snapshot.samples
    assert all(image.mode == "RGB" and isinstance(text, str) for image, text in pairs)


def test_why_tells_the_story_of_a_dropped_and_of_a_kept_image(snapshot, verdicts):
    dropped = next(row for row in verdicts if row["reason"] == "near_duplicate")
    kept = next(row for row in verdicts if row["keep"])
    told = "\n".join(why.lines(why.run(snapshot.url, f"{dropped['source']}#{dropped['key']}")[0]))
    assert f"near_duplicate: {dropped['detail']}" in told
    told = "\n".join(why.lines(why.run(snapshot.url, kept["uid"])[0]))
    assert f"key {kept['shard_key']}" in told
    assert snapshot.shards[kept["shard"]].path in told


def test_why_answers_for_any_pool_image(snapshot, verdicts):
    for row in verdicts[:: len(verdicts) // 12]:
        name = row["uid"] if not row["key"] else f"{row['source']}#{row['key']}"
        stories = why.run(snapshot.url, name)
        assert any(story.verdict == row for story in stories)
        assert stories[0].facts["sha256"] or stories[0].facts["error"]
