"""`headrace mix` of anyone's tars: scanned on Ray, pinned by a list, and no image copied."""

import os
import shutil
from itertools import islice
from pathlib import Path

import pytest
import webdataset
import yaml

from jobs import cluster, curate, materialise, mix
from jobs.config import CurateConfig, MaterialiseConfig, MixConfig
from jobs.indexes import on_ray
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import read_mixture
from pipeline.format.tarset import tar_set
from tests.jobs.test_config import problem
from tests.trainer.conftest import read_pictures, write_snapshot
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"

CONFIG = StreamConfig(batch=16, lanes=4, image_size=16)


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for all tests here."""
    with cluster.session(2):
        yield


@pytest.fixture
def pool(tmp_path, demo_data) -> Path:
    """Three tars of pairs, none of them damaged, and nothing beside them."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for tar in ("trusted/00000000.tar", "trusted/00000001.tar", "target/val-00000.tar"):
        shutil.copy(demo_data / tar, folder)
    return folder


def mixed(folder: Path, *sources: dict) -> MixConfig:
    return MixConfig.model_validate({"mixture": str(folder / "plus.json"), "sources": sources})


def steps(named: str) -> list[tuple]:
    with Stream(named, CONFIG) as stream:
        batches = list(islice(stream, 4))
    return [(batch.keys, batch.captions, batch.images.tolist()) for batch in batches]


def test_tars_are_mixed_with_a_snapshot_and_no_image_is_copied(tmp_path, pool, demo_data):
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")
    few = write_snapshot(tmp_path / "few", pictures, [9, 8])
    before = sorted(pool.iterdir())
    web = {"name": "web", "tars": str(pool / "*.tar"), "ratio": 4}
    published = mix.run(mixed(tmp_path, web, {"name": "few", "snapshot": few.url, "ratio": 1}))
    assert [(s.name, s.weight) for s in published.sources] == [("web", 4), ("few", 1)]
    assert published.sources[0].snapshot.startswith(f"file://{tmp_path}/plus.tars/")
    assert read_mixture(str(tmp_path / "plus.json")) == published
    assert sorted(pool.iterdir()) == before
    made = sum(path.stat().st_size for path in (tmp_path / "plus.tars").rglob("*.parquet"))
    assert made < sum(path.stat().st_size for path in before) / 10


def test_a_mixture_of_tars_streams_as_the_tars_do_and_scans_none(tmp_path, pool, monkeypatch):
    names = [path.name for path in sorted(pool.iterdir())]
    braced = [str(pool / "0000000{0..1}.tar"), str(pool / names[-1])]
    mix.run(mixed(tmp_path, {"name": "data", "tars": braced, "ratio": 1}))
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    found = steps(str(tmp_path / "plus.json"))
    assert not (tmp_path / "cache").exists()
    assert found == steps(str(pool / "*.tar"))


def test_mixing_again_is_harmless_and_a_tar_that_changed_is_another_mixture(tmp_path, pool):
    config = mixed(tmp_path, {"name": "web", "tars": str(pool / "*.tar"), "ratio": 1})
    assert mix.run(config) == mix.run(config)
    os.utime(pool / "00000000.tar", (1, 1))
    with pytest.raises(HeadraceError, match="holds another mixture"):
        mix.run(config)


def test_scanning_on_ray_gives_the_bytes_of_scanning_here(tmp_path, pool):
    def contents(folder):
        return {p.name: p.read_bytes() for p in (tmp_path / folder / "indexes").glob("*.parquet")}

    there = tar_set(str(pool / "*.tar"), str(tmp_path / "there"), run=on_ray)
    here = tar_set(str(pool / "*.tar"), str(tmp_path / "here"))
    assert there.id == here.id
    assert contents("there") == contents("here")
    assert len(contents("here")) == 3


def test_a_damaged_tar_is_refused_with_its_place(tmp_path, pool):
    tar = pool / "00000001.tar"
    os.truncate(tar, tar.stat().st_size // 2)
    config = mixed(tmp_path, {"name": "web", "tars": str(pool / "*.tar"), "ratio": 1})
    with pytest.raises(HeadraceError, match=r"00000001\.tar: byte \d+: .*curate it first"):
        mix.run(config)
    assert not (tmp_path / "plus.json").exists()


def test_tars_are_materialised_with_what_they_hold(tmp_path, pool):
    mixture = mix.run(mixed(tmp_path, {"name": "data", "tars": str(pool / "*.tar"), "ratio": 1}))
    to = tmp_path / "first"
    materialise.run(mixture, MaterialiseConfig(to=str(to), batch=16, lanes=4), 64)
    found = list(webdataset.WebDataset([str(to / "00000000.tar")], shardshuffle=False))
    with Stream(mixture, CONFIG) as stream:
        batches = list(islice(stream, 4))
    assert [s["txt"].decode() for s in found] == [c for b in batches for c in b.captions]
    keys = [key for batch in batches for key in batch.keys]
    assert all(key in sample["json"].decode() for key, sample in zip(keys, found, strict=True))


def test_a_source_is_a_snapshot_or_tars(tmp_path):
    for which in ({}, {"snapshot": "a", "tars": "b"}):
        source = {"name": "web", "ratio": 1, **which}
        fields = {"mixture": "m.json", "sources": [source]}
        assert "name either a snapshot or tars" in problem(tmp_path, fields, MixConfig)


@pytest.mark.slow
def test_imagenet_by_the_shipped_recipe_keeps_every_readable_image_and_streams(tmp_path, demo_data):
    """Class folders; copies and small images stay, as the rules are off."""
    pictures = read_pictures(demo_data / "target" / "val-00000.tar")[:30]
    for n, picture in enumerate([*pictures, pictures[0]]):
        folder = tmp_path / "train" / f"n0144076{n % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{folder.name}_{n}.JPEG").write_bytes(picture.image)
    (folder / f"{folder.name}_99.JPEG").write_bytes(pictures[1].image[:200])
    fields = yaml.safe_load((RECIPES / "curate-imagenet.yaml").read_text())
    fields["dataset"] = str(tmp_path / "imagenet")
    fields["sources"][0]["url"] = str(tmp_path / "train")
    snapshot = curate.run(CurateConfig.model_validate(fields))
    assert (snapshot.samples, snapshot.counts) == (31, {"kept": 31, "unreadable": 1})
    with Stream(snapshot.url, CONFIG) as stream:
        batches = list(islice(stream, 2))
    assert len({key for batch in batches for key in batch.keys}) == 31
    assert not any(batch.bad for batch in batches)
