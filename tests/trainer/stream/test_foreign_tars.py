"""Anyone's tars, as other tools write them, through our stream."""

import io
import itertools
import json
import subprocess
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest
import s3fs
import torch
import webdataset

from pipeline.format.errors import HeadraceError
from pipeline.format.listing import publish_listing
from pipeline.format.mixture import Mixture, mixture_bytes
from pipeline.format.mixture import Source as Part
from pipeline.format.tarset import LISTED, tar_set
from pipeline.format.writing import publish
from tests.jobs import door
from tests.pipeline.making import png, tar_of
from tests.trainer.conftest import write_shard
from trainer.stream.config import CacheConfig, StreamConfig
from trainer.stream.opening import open_all
from trainer.stream.source import Source
from trainer.stream.stream import Stream

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def config(tmp_path) -> StreamConfig:
    cache = CacheConfig(folder=str(tmp_path / "cache"), max_bytes=1 << 20)
    return StreamConfig(batch=12, lanes=6, image_size=8, block=2, cache=cache)


def delivered(named, config, steps=4):
    with Stream(named, config) as stream:
        return list(itertools.islice(stream, steps)), stream.digest


def records(tmp_path: Path, tars) -> dict[str, tuple[bytes, bytes]]:
    """Image and caption of every sample, by key."""
    source = Source("web", tar_set(tars, str(tmp_path / "cache")))
    found = source.records(0, len(source))
    assert [record.fault for record in found] == [""] * len(found)
    return {record.key: (record.image, record.text) for record in found}


def as_they_are(pictures) -> dict[str, tuple[bytes, bytes]]:
    return {picture.key: (picture.image, picture.text) for picture in pictures}


# One set, named in several ways


def test_a_snapshot_and_its_tars_named_one_by_one_or_by_pattern_give_the_same_batches(web, config):
    folder = f"{web.dataset}/{web.shards[0].path}".removesuffix("/00000000.tar")
    expected, total = delivered(web.url, config)
    for named in (
        [f"{folder}/0000000{n}.tar" for n in range(3)],
        f"{folder}/0000000{{0..2}}.tar",
        f"{folder}/*.tar",
    ):
        batches, same = delivered(named, config)
        assert same == total
        for one, other in zip(batches, expected, strict=True):
            assert torch.equal(one.images, other.images)
            assert (one.keys, one.captions) == (other.keys, other.captions)


def test_two_sources_with_equal_shard_names_keep_their_own_samples(tmp_path, pictures, config):
    shares = {"a": pictures[:5], "b": pictures[5:12]}
    for name, own in shares.items():
        write_shard(tmp_path / name, "0.tar", own)
    named = {name: (str(tmp_path / name / "0.tar"), 1) for name in shares}
    batches, _ = delivered(named, config)
    keys = defaultdict(set)
    for batch in batches:
        for source, key in zip(batch.sources.tolist(), batch.keys, strict=True):
            keys["ab"[source]].add(key)
    assert keys == {name: {picture.key for picture in own} for name, own in shares.items()}


def test_a_mixture_of_a_snapshot_and_of_tars_pins_both(web, tmp_path, pictures, config):
    write_shard(tmp_path, "0.tar", pictures[23:30])
    few = tar_set(str(tmp_path / "0.tar"), str(tmp_path / "mixture"))
    sources = (Part("web", web.url, 4, 23), Part("few", publish_listing(few), 1, 7))
    published = tmp_path / "mixture.json"
    published.write_bytes(mixture_bytes(Mixture(sources)))
    named = {"web": (web.url, 4), "few": (str(tmp_path / "0.tar"), 1)}
    assert delivered(str(published), config)[1] == delivered(named, config)[1]
    write_shard(tmp_path, "0.tar", pictures[22:29])
    with pytest.raises(HeadraceError, match=r"/0\.tar: was changed under the run"):
        delivered(str(published), config)


@pytest.fixture(scope="module")
def bucket():
    """A client of an S3 server that the environment names."""
    with door.s3() as (way, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.behind}")
        s3fs.S3FileSystem.clear_instance_cache()
        yield door.client(way.behind)
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_tars_on_s3_are_those_on_the_disk_and_a_rewritten_one_is_named(
    bucket, tmp_path, pictures, config
):
    for n in range(LISTED):  # so many that their folder is listed
        write_shard(tmp_path / "tars", f"{n:02d}.tar", pictures[n : n + 2])
        path = str(tmp_path / "tars" / f"{n:02d}.tar")
        bucket.upload_file(path, door.BUCKET, f"tars/{n:02d}.tar")
    here, total = delivered(f"{tmp_path}/tars/*.tar", config)
    url = f"s3://{door.BUCKET}/tars/{{00..{LISTED - 1}}}.tar"
    with Stream(url, config) as stream:
        state = stream.state_dict()
        there = list(itertools.islice(stream, len(here)))
        assert stream.digest == total
    assert all(torch.equal(a.images, b.images) for a, b in zip(here, there, strict=True))
    (one,) = (shards for _, _, shards in open_all(url.replace("{00..15}", "07"), str(tmp_path)))
    assert one.versions[0] == open_all(url, str(tmp_path))[0].shards.versions[7]
    bucket.put_object(Bucket=door.BUCKET, Key="tars/07.tar", Body=tar_of({"a.png": png(1)}))
    with Stream(url, config) as stream, pytest.raises(HeadraceError, match=r"07\.tar was changed"):
        stream.load_state_dict(state)


# Changes under a run


def test_a_resume_after_a_shard_was_rewritten_in_place_names_it(tmp_path, pictures, config):
    for n in range(3):
        write_shard(tmp_path, f"{n}.tar", pictures[n * 4 :][:4])
    tars = f"{tmp_path}/*.tar"
    with Stream(tars, config) as stream:
        next(iter(stream))
        state = json.loads(json.dumps(stream.state_dict()))
    with Stream(tars, config) as stream:
        stream.load_state_dict(state)
    write_shard(tmp_path, "1.tar", pictures[20:24])
    with (
        Stream(tars, config) as stream,
        pytest.raises(HeadraceError, match=rf"another stream: file://{tmp_path}/1\.tar was chan"),
    ):
        stream.load_state_dict(state)


def test_a_shard_that_changes_under_a_run_ends_it_with_its_name(tmp_path, pictures, config):
    for n in range(2):
        write_shard(tmp_path, f"{n}.tar", pictures[n * 6 :][:6])
    with Stream(f"{tmp_path}/*.tar", config) as stream:
        write_shard(tmp_path, "1.tar", pictures[20:26])
        with pytest.raises(HeadraceError, match=r"/1\.tar: was changed under the run"):
            list(itertools.islice(stream, 4))


def test_a_shard_whose_pixels_alone_change_under_a_run_ends_it_too(tmp_path, pictures, config):
    """The same names at the same places: no header tells of it."""
    write_shard(tmp_path, "0.tar", pictures[:6])
    with Stream(str(tmp_path / "0.tar"), config) as stream:
        batches = iter(stream)
        next(batches)
        tar = tmp_path / "0.tar"
        altered = tar.read_bytes().replace(pictures[3].image, bytes(len(pictures[3].image)))
        publish(f"file://{tar}", altered)  # whole: a half-written tar is another mistake
        with pytest.raises(HeadraceError, match=r"/0\.tar: was changed under the run"):
            list(itertools.islice(batches, 20))


def test_a_damaged_tar_is_refused_before_a_batch_is_made(tmp_path, pictures, config):
    write_shard(tmp_path, "0.tar", pictures[:4])
    tar = tmp_path / "0.tar"
    tar.write_bytes(tar.read_bytes()[:-12000])
    with pytest.raises(HeadraceError, match=r"/0\.tar: byte \d+: the archive .* curate it"):
        Stream(str(tar), config)


# Tools


def test_tars_of_webdatasets_writer(tmp_path, pictures):
    for n, own in enumerate((pictures[:7], pictures[7:12])):
        with webdataset.TarWriter(str(tmp_path / f"{n:06d}.tar"), encoder=False) as tar:
            for picture in own:
                image = {picture.extension: picture.image}
                tar.write({"__key__": picture.key, "txt": picture.text, **image})
    found = records(tmp_path, f"{tmp_path}/{{000000..000001}}.tar")
    assert found == as_they_are(pictures[:12])


@pytest.mark.parametrize("key", ["k" * 150 + "é", "a/b/" + "n" * 120, "фото 1", "k" * 100])
def test_names_that_webdatasets_writer_extends(tmp_path, key):
    with webdataset.TarWriter(str(tmp_path / "0.tar"), encoder=False) as tar:
        tar.write({"__key__": key, "json": b"{}", "png": png(1), "txt": b"one"})
    assert records(tmp_path, str(tmp_path / "0.tar")) == {key: (png(1), b"one")}


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "oldgnu", "v7"])
def test_tars_of_gnu_tar(tmp_path, pictures, form):
    folder = tmp_path / "files"
    folder.mkdir()
    for picture in pictures[:6]:
        (folder / f"{picture.key}.{picture.extension}").write_bytes(picture.image)
        (folder / f"{picture.key}.txt").write_bytes(picture.text)
    tar = str(tmp_path / "0.tar")
    subprocess.run(
        ["tar", f"--format={form}", "--sort=name", "-C", folder, "-cf", tar, "."], check=True
    )
    expected = {f"./{key}": pair for key, pair in as_they_are(pictures[:6]).items()}
    assert records(tmp_path, tar) == expected


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_names_that_gnu_tar_extends(tmp_path, form):
    folder = tmp_path / "files" / ("long" * 40)
    folder.mkdir(parents=True)
    for name in ("one", "zwölf", "двенадцать", "n" * 200):
        (folder / f"{name}.png").write_bytes(name.encode())
    tar = str(tmp_path / "0.tar")
    command = ["tar", f"--format={form}", "-C", tmp_path / "files", "-cf", tar, "long" * 40]
    subprocess.run(command, check=True)
    found = records(tmp_path, tar)
    assert {key.partition("/")[2]: image.decode() for key, (image, _) in found.items()} == {
        name: name for name in ("one", "zwölf", "двенадцать", "n" * 200)
    }


def test_a_folder_as_img2dataset_leaves_it(tmp_path, pictures):
    """Tars of jpg, json and txt by a number, a parquet and statistics beside each; what could not
    be downloaded is in the parquet alone."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard:05d}.tar", "w") as tar:
            for n, picture in enumerate(pictures[shard * 5 :][:5]):
                told = {"url": "https://a/b", "caption": "c", "status": "success"}
                members = {
                    "jpg": picture.image,
                    "json": json.dumps(told).encode(),
                    "txt": picture.text,
                }
                for extension, data in members.items():
                    info = tarfile.TarInfo(f"{shard:05d}{n * 3:04d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        (tmp_path / f"{shard:05d}.parquet").write_bytes(b"PAR1")
        (tmp_path / f"{shard:05d}_stats.json").write_text("{}")
    found = records(tmp_path, f"{tmp_path}/*.tar")
    assert list(found) == [f"{shard:05d}{n * 3:04d}" for shard in range(2) for n in range(5)]
    assert list(found.values()) == list(as_they_are(pictures[:10]).values())


def test_samples_of_an_image_alone_and_members_of_no_use(tmp_path):
    members = {"a.jpg": b"1", "b.webp": b"2", "c.txt": b"no image", "d.cls": b"4", "d.png": b"3"}
    (tmp_path / "0.tar").write_bytes(tar_of(members))
    found = records(tmp_path, str(tmp_path / "0.tar"))
    assert found == {"a": (b"1", b""), "b": (b"2", b""), "d": (b"3", b"")}
