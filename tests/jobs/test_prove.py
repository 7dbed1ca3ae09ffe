"""A takedown that must erase: which snapshots hold the images, and the proof that none does."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from jobs import cluster, prove, prune, refresh
from jobs.config import CurateConfig, load
from jobs.holding import Holding
from pipeline.decide import lists
from pipeline.decide.lists import ListConfig, ListsConfig
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from tests.pipeline.making import END, png, tar_of


def uid(number: int) -> str:
    return hashlib.md5(bytes([number])).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pool(path: Path, pictures: int) -> None:
    """The last picture has the bytes of the second one."""
    members = {}
    for number in range(pictures):
        meta = {"uid": uid(number), "url": f"https://host{number}.org/{number}.png"}
        members[f"{number:03d}.json"] = json.dumps(meta).encode()
        members[f"{number:03d}.png"] = png(1 if number == pictures - 1 else number)
    path.write_bytes(tar_of(members))


def config_file(folder: Path, *deny: dict) -> Path:
    fields = {
        "dataset": str(folder / "dataset"),
        "sources": [{"url": str(folder / "pool.tar")}],
        "decide": {"duplicates": {"radius": 1}, "lists": {"deny": list(deny)}},
        "write": {"shard_samples": 3},
    }
    path = folder / "curate.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def test_a_takedown_names_the_snapshots_to_retire_and_is_proven_once_they_are_pruned(
    tmp_path, headrace_here
):
    """One image is taken down by its domain, another by a copy that was never kept."""
    pool(tmp_path / "pool.tar", 10)
    dataset = tmp_path / "dataset"
    with cluster.session(2):
        first = refresh.run(load(str(config_file(tmp_path)), CurateConfig))
        (tmp_path / "takedown.txt").write_text(f"# asked for by post\n{uid(9)}\n")
        denied = config_file(
            tmp_path,
            {"kind": "uid", "file": str(tmp_path / "takedown.txt")},
            {"kind": "domain", "values": ["host5.org"]},
        )
        second = refresh.run(load(str(denied), CurateConfig))
        assert (first.samples, second.samples) == (9, 7)
        assert prune.look(str(dataset)).holding == (Holding(first.id, 2),)

        still = headrace_here("prune", dataset, "--prove", denied)
        assert still.returncode == 1
        assert f"{uid(5)}: host5.org is in the config's domain list" in still.stdout
        assert "1 are listed" in still.stdout

        gone = headrace_here("prune", dataset, "--retire", first.id, "--delete", "--prove", denied)
        assert gone.returncode == 0, gone.stderr
        assert f"holds 2 images taken down since: --retire {first.id}" not in gone.stdout
        assert "7 samples" in gone.stdout
        assert "none is listed" in gone.stdout
    assert len(list(dataset.glob("shards/*/*.tar"))) == 3
    assert png(1) not in b"".join(path.read_bytes() for path in dataset.glob("shards/*/*.tar"))


IMAGES = {
    f"{uid(0)}.png": b"0",
    f"{uid(1)}-1.png": b"1",
    "other.png": b"2",
    "other.json": json.dumps(
        {"uid": uid(2).upper(), "sha256": sha256(b"?"), "url": "https://a.Example.org/x?sig=1"}
    ).encode(),
    "odd.png": b"3",
    "odd.json": b'{"uid": 7, "sha256": "12", "url": ["x"]}',
    "worse.json": b"[" * 100_000,
    "worse.png": b"4",
    f"./{uid(5)}-2.png": b"5",
    "key\udcff.png": b"6",
}
NOT_THERE = {
    "uid": uid(9),
    "sha256": sha256(b"9"),
    "url": "https://a.example.org/",
    "domain": "b.org",
}


@pytest.fixture(scope="module")
def tar(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("tars") / "00000000.tar"
    path.write_bytes(tar_of(IMAGES))
    return f"file://{path}"


@pytest.mark.parametrize(
    ("kind", "entry", "key"),
    [
        ("uid", uid(0), uid(0)),
        ("uid", uid(1), f"{uid(1)}-1"),
        ("uid", uid(2), "other"),
        ("sha256", sha256(b"2"), "other"),
        ("sha256", sha256(b"?"), "other"),
        ("sha256", sha256(b"4"), "worse"),
        ("uid", uid(5), f"./{uid(5)}-2"),
        ("sha256", sha256(b"6"), r"key\xff"),
        ("url", "https://a.example.org/x", "other"),
        ("url", "https://*.example.org/*", "other"),
        ("domain", "example.org", "other"),
    ],
)
def test_an_image_is_met_by_whatever_names_it(tar, kind, entry, key):
    config = ListConfig(kind=kind, values=(entry, NOT_THERE[kind]))
    found = prove.prove_tar(tar, lists.prepare(ListsConfig(deny=(config,))).deny)
    assert [(hit.shard, hit.key) for hit in found.hits] == [(tar, key)]
    assert (found.tars, found.samples) == (1, 7)


def test_what_is_not_there_is_not_met(tar):
    deny = tuple(ListConfig(kind=kind, values=(entry,)) for kind, entry in NOT_THERE.items())
    assert prove.prove_tar(tar, lists.prepare(ListsConfig(deny=deny)).deny).hits == ()


def test_a_tar_that_cannot_be_read_to_its_end_proves_nothing(tmp_path):
    path = tmp_path / "cut.tar"
    path.write_bytes(tar_of(IMAGES).removesuffix(END)[:-300])
    with pytest.raises(HeadraceError, match=r"cut\.tar: byte \d+: .*nothing is proven"):
        prove.prove_tar(f"file://{path}", ())


def test_without_a_list_or_while_a_shard_is_written_nothing_is_proven(tmp_path):
    with pytest.raises(HeadraceError, match=r"decide\.lists\.deny: no list"):
        prove.run(str(tmp_path), ListsConfig())
    deny = ListsConfig(deny=(ListConfig(kind="uid", values=(uid(0),)),))
    with (
        writing.publishing(f"{tmp_path}/shards/00/00000000.tar"),
        pytest.raises(HeadraceError, match="is being written"),
    ):
        prove.run(str(tmp_path), deny)
