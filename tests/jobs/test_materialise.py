"""`headrace mix --materialise`: the stream's first samples as plain tars."""

import hashlib
import json
import os
from itertools import islice
from pathlib import Path

import pytest
import webdataset
import yaml

from jobs import cluster, materialise, mix
from jobs.config import MixConfig, load
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.shards import COLUMNS
from pipeline.format.snapshot import index_tar, parquet_bytes, read_parquet
from tests.pipeline.making import tar_of
from tests.trainer.conftest import read_pictures, write_snapshot
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

SAMPLES = 75
"""More than two epochs of the larger source; no whole number of steps or of tars."""

SHAPE = {"batch": 16, "lanes": 4, "seed": 3, "block": {"web": 3}}

DIES_ONCE = """
import os, signal
fsync = os.fsync
def dies(file):
    if "/.00000001.tar." in os.readlink(f"/proc/self/fd/{file}"):
        if not os.path.exists(os.environ["DIED"]):
            open(os.environ["DIED"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    fsync(file)
os.fsync = dies
"""
"""For a sitecustomize: the worker that is about to publish tar 1 dies, the first time."""


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for all tests here."""
    with cluster.session(2):
        yield


@pytest.fixture(scope="module")
def pictures(demo_data):
    return read_pictures(demo_data / "target" / "val-00000.tar")


@pytest.fixture(scope="module")
def sources(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    web = write_snapshot(folder / "web", pictures, [9, 8, 6])
    few = write_snapshot(folder / "few", pictures[23:], [4, 3])
    return [
        {"name": "web", "snapshot": web.url, "ratio": 0.8},
        {"name": "few", "snapshot": few.url, "ratio": 0.2},
    ]


def fields(folder: Path, sources, **changes):
    section = {"to": str(folder / "first"), "shard_samples": 32, **SHAPE, **changes}
    return {"mixture": str(folder / "mixture.json"), "sources": sources, "materialise": section}


def contents(folder: Path) -> dict[str, str]:
    files = sorted((folder / "first").iterdir())
    files = (path for path in files if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(session, sources, tmp_path_factory):
    """The folder with the mixture and, in `first`, its first samples."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = MixConfig.model_validate(fields(folder, sources))
    mixture = mix.run(config)
    materialise.run(mixture, config.materialise, SAMPLES)
    return folder


def read_by_webdataset(folder: Path) -> list[dict]:
    tars = [str(path) for path in sorted((folder / "first").glob("*.tar"))]
    return list(webdataset.WebDataset(tars, shardshuffle=False))


def test_they_are_the_first_of_the_stream_as_webdataset_reads_them(undisturbed, pictures):
    config = StreamConfig(image_size=16, **SHAPE)
    with Stream(str(undisturbed / "mixture.json"), config) as stream:
        batches = list(islice(stream, -(-SAMPLES // config.batch)))
    keys = [key for batch in batches for key in batch.keys][:SAMPLES]
    found = read_by_webdataset(undisturbed)
    assert [sample["__key__"] for sample in found] == [f"{n:012d}" for n in range(SAMPLES)]
    planned = {picture.key: picture for picture in pictures}
    for sample, key in zip(found, keys, strict=True):
        assert sample[planned[key].extension] == planned[key].image
        assert (sample["txt"], sample["json"]) == (planned[key].text, b"{}")


def test_an_index_lies_beside_each_tar_and_a_list_of_them_comes_last(undisturbed):
    folder = undisturbed / "first"
    facts = json.loads((folder / "materialised.json").read_text())
    assert [tar["samples"] for tar in facts["tars"]] == [32, 32, 11]
    assert facts["samples"] == SAMPLES
    for tar in facts["tars"]:
        data = (folder / tar["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (tar["nbytes"], tar["sha256"])
        index = read_parquet(str(folder / tar["path"].replace(".tar", ".idx.parquet")))
        assert index.equals(index_tar(str(folder / tar["path"])))


def test_a_killed_run_goes_on_and_leaves_alone_what_is_finished(undisturbed, sources):
    config = MixConfig.model_validate(fields(undisturbed, sources))
    folder, wanted = undisturbed / "first", contents(undisturbed)
    (folder / "materialised.json").unlink()
    (folder / "00000001.idx.parquet").unlink()
    (folder / "00000001.tar").write_bytes(b"cut")
    (folder / ".00000002.tar.x.partial").write_bytes(b"left by a killed writer")
    finished = folder / "00000000.tar"
    written = finished.stat().st_mtime_ns
    materialise.run(mix.run(config), config.materialise, SAMPLES)
    assert contents(undisturbed) == wanted
    assert finished.stat().st_mtime_ns == written


@pytest.mark.parametrize(("samples", "changes"), [(SAMPLES, {"seed": 4}), (30, {}), (74, {})])
def test_other_samples_are_refused_a_folder_that_holds_some(undisturbed, sources, samples, changes):
    config = MixConfig.model_validate(fields(undisturbed, sources, **changes))
    wanted = contents(undisturbed)
    with pytest.raises(HeadraceError, match="a folder of its own"):
        materialise.run(mix.run(config), config.materialise, samples)
    assert contents(undisturbed) == wanted


def test_a_folder_of_another_order_of_the_same_samples_is_refused(
    undisturbed, sources, monkeypatch
):
    config = MixConfig.model_validate(fields(undisturbed, sources))
    wanted = contents(undisturbed)
    monkeypatch.setattr(materialise, "ORDER", materialise.ORDER + 1)
    with pytest.raises(HeadraceError, match="a folder of its own"):
        materialise.run(mix.run(config), config.materialise, SAMPLES)
    assert contents(undisturbed) == wanted


def test_a_folder_of_other_tars_is_not_touched(tmp_path, sources):
    config = MixConfig.model_validate(fields(tmp_path, sources))
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "00000000.tar").write_bytes(b"of a pool")
    with pytest.raises(HeadraceError, match="holds tars of other samples"):
        materialise.run(mix.run(config), config.materialise, SAMPLES)
    assert list((tmp_path / "first").iterdir()) == [tmp_path / "first" / "00000000.tar"]


def test_a_damaged_shard_is_named_and_nothing_of_it_is_written(tmp_path, pictures):
    web = write_snapshot(tmp_path / "web", pictures, [9])
    tar = Path(web.dataset.removeprefix("file://")) / web.shards[0].path
    tar.write_bytes(bytes(tar.stat().st_size))
    source = {"name": "web", "snapshot": web.url, "ratio": 1}
    config = MixConfig.model_validate(fields(tmp_path, [source]))
    with pytest.raises(HeadraceError, match=r"00000000\.tar: sample .*restore"):
        materialise.run(mix.run(config), config.materialise, 9)
    assert not (tmp_path / "first" / "materialised.json").exists()


def test_a_sample_whose_other_files_are_damaged_is_named(tmp_path, pictures):
    web = write_snapshot(tmp_path / "web", pictures, [9])
    tar = Path(web.dataset.removeprefix("file://")) / web.shards[0].path
    data, json_header = tar.read_bytes(), f"{pictures[4].key}.json".encode()
    assert data.count(json_header) == 1
    tar.write_bytes(data.replace(json_header, bytes(len(json_header))))
    source = {"name": "web", "snapshot": web.url, "ratio": 1}
    config = MixConfig.model_validate(fields(tmp_path, [source]))
    with pytest.raises(HeadraceError, match=rf"0\.tar: sample {pictures[4].key}: .*; restore"):
        materialise.run(mix.run(config), config.materialise, 9)


def test_of_an_index_no_more_is_read_than_a_stream_needs(tmp_path, pictures, undisturbed):
    """The rest of it is large, and a sample's own bytes tell as much."""
    found = []
    for name, part, sizes in (("web", pictures, [9, 8, 6]), ("few", pictures[23:], [4, 3])):
        snapshot = write_snapshot(tmp_path / name, part, sizes)
        for path in (tmp_path / name).rglob("*.idx.parquet"):
            writing.publish(str(path), parquet_bytes(read_parquet(str(path)).select(COLUMNS)))
        found.append({"name": name, "snapshot": snapshot.url, "ratio": 4 if name == "web" else 1})
    config = MixConfig.model_validate(fields(tmp_path, found))
    materialise.run(mix.run(config), config.materialise, SAMPLES)
    tars = [
        {p.name: p.read_bytes() for p in f.glob("first/*.tar")} for f in (tmp_path, undisturbed)
    ]
    assert tars[0] == tars[1]


def test_what_a_sample_lacks_it_lacks_there_too_and_what_is_no_file_of_a_sample_is_left(tmp_path):
    samples = {
        "a": {"PNG": b"1"},
        "b": {"jpg": b"2", "png": b"3", "cls": b"4"},
        "folder/" + "k" * 150: {"json": b"{}", "webp": b"5"},
        "d": {"gif": b"6", "txt": b""},
    }
    members = {f"{key}.{e}": data for key, files in samples.items() for e, data in files.items()}
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    source = {"name": "data", "tars": str(tmp_path / "0.tar"), "ratio": 1}
    config = MixConfig.model_validate(fields(tmp_path, [source], block=None))
    materialise.run(mix.run(config), config.materialise, 4)
    found = [
        [(name, data) for name, data in sorted(sample.items()) if not name.startswith("__")]
        for sample in read_by_webdataset(tmp_path)
    ]
    assert sorted(found) == [
        [("gif", b"6"), ("txt", b"")],
        [("jpg", b"2")],
        [("json", b"{}"), ("webp", b"5")],
        [("png", b"1")],
    ]


def test_wrong_settings_are_refused_before_any_work(tmp_path, sources):
    path = tmp_path / "mix.yaml"
    for changes, words in (
        ({"batch": 10}, "batch 10 is not a multiple of lanes 4"),
        ({"block": {"wed": 3}}, r"materialise.block: no source \['wed'\]"),
    ):
        path.write_text(yaml.safe_dump(fields(tmp_path, sources, **changes)))
        with pytest.raises(HeadraceError, match=words):
            load(str(path), MixConfig)


def test_the_command_asks_where_the_samples_go(tmp_path, sources, headrace_here):
    path = tmp_path / "mix.yaml"
    path.write_text(yaml.safe_dump({"mixture": str(tmp_path / "m.json"), "sources": sources}))
    done = headrace_here("mix", path, "--materialise", 10)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "materialise: missing; say where the samples go" in done.stderr
    assert not (tmp_path / "m.json").exists()


@pytest.mark.slow
def test_a_killed_worker_changes_no_byte(tmp_path, undisturbed, sources, headrace):
    (tmp_path / "sitecustomize.py").write_text(DIES_ONCE)
    (tmp_path / "mix.yaml").write_text(yaml.safe_dump(fields(tmp_path, sources)))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "DIED": str(tmp_path / "died")}
    words = ("mix", tmp_path / "mix.yaml", "--materialise", SAMPLES, "--workers", 2)
    process = headrace.start(*words, env=environment)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert (tmp_path / "died").exists()
    assert f"the first {SAMPLES} samples are 3 tars in" in out
    assert contents(tmp_path) == contents(undisturbed)
