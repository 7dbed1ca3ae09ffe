"""`headrace verify`: a sound dataset passes, and each damage is named, whatever else is damaged."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from jobs import cluster, refresh, verify
from jobs.commands import keeping
from pipeline import plan
from pipeline.format import retired, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import (
    Snapshot,
    manifest_bytes,
    parquet_bytes,
    read_parquet,
    read_snapshot,
)
from tests.jobs import curation
from tests.pipeline.report.curated import photo, write_tar


def sources(folder: Path, names: str) -> list[dict]:
    return [{"url": str(folder / f"{name}.tar")} for name in names]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A snapshot of two tars of five, in shards of four; and a child, of one tar more, in which one
    of the second shard's images is taken down, and both of the third shard's.
    """
    folder = tmp_path_factory.mktemp("verify")
    images = {f"{tar}{n}": photo(10 * tar + n) for tar in range(3) for n in range(5)}
    for tar in "012":
        write_tar(folder / f"{tar}.tar", [(k, i, "a") for k, i in images.items() if k[0] == tar])
    gone = [hashlib.sha256(images[key]).hexdigest() for key in ("10", "13", "14")]
    deny = {"lists": {"deny": [{"kind": "sha256", "values": gone}]}}
    dataset, write = folder / "dataset", {"shard_samples": 4}
    with cluster.session(2):
        for names, decide in (("01", {}), ("012", deny)):
            found = sources(folder, names)
            refresh.run(curation.config(dataset, sources=found, decide=decide, write=write))
        yield dataset


def publish(snapshot: Snapshot) -> None:
    writing.publish(f"{snapshot.url}/manifest.json", manifest_bytes(snapshot))


def local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


@pytest.fixture
def dataset(sound, tmp_path) -> Path:
    """A copy to damage."""
    return shutil.copytree(sound, tmp_path / "dataset")


def damages(dataset: Path) -> list[str]:
    told = []
    checked = verify.run(str(dataset), tell=told.append)
    assert checked.damages == told
    return told


def command(*words: str | Path):
    return CliRunner().invoke(keeping.app, [*map(str, words)])


def newest(dataset: Path) -> Snapshot:
    return read_snapshot(str(dataset))


def first_tar(dataset: Path) -> Path:
    return dataset / newest(dataset).shards[0].path


def first_index(dataset: Path) -> Path:
    return dataset / newest(dataset).shards[0].index_path


def flip(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def test_a_sound_dataset_passes_and_each_shard_is_read_once(sound):
    checked = verify.run(str(sound))
    assert checked.damages == []
    assert (checked.snapshots, checked.retired, len(checked.shards)) == (2, 0, 6)
    result = command("verify", sound)
    assert result.exit_code == 0
    nbytes = sum(path.stat().st_size for path in sound.rglob("*.tar"))
    assert f"sound: 2 snapshots (0 retired), 6 shards, {nbytes:,} bytes" in result.output
    assert "verify shards: 6/6 shards" in result.output


def cut_tar(dataset: Path) -> str:
    path = first_tar(dataset)
    path.write_bytes(path.read_bytes()[:-2000])
    nbytes = path.stat().st_size
    return rf"{path}: has {nbytes:,} bytes, and the manifest says {nbytes + 2000:,}"


def flip_a_bit_of_an_image(dataset: Path) -> str:
    path = first_tar(dataset)
    flip(path, read_parquet(str(first_index(dataset)))["image_offset"][1].as_py() + 100)
    return rf"{path}: has other bytes: sha256 \w+, and the manifest says "


def remove_tar(dataset: Path) -> str:
    first_tar(dataset).unlink()
    return rf"{first_tar(dataset)}: no such file"


def remove_index(dataset: Path) -> str:
    first_index(dataset).unlink()
    return rf"{first_index(dataset)}: no such file"


def flip_a_bit_of_an_index(dataset: Path) -> str:
    flip(first_index(dataset), 20)
    return rf"{first_index(dataset)}: "


def shift_an_offset(dataset: Path) -> str:
    path = first_index(dataset)
    table = read_parquet(str(path))
    moved = pa.array([n + (row == 2) for row, n in enumerate(table["image_offset"].to_pylist())])
    at = table.column_names.index("image_offset")
    path.write_bytes(parquet_bytes(table.set_column(at, table.schema.field(at), moved)))
    return rf"{path}: is not the index of its tar, from place 2 on"


def index_of_another_tar(dataset: Path) -> str:
    path = first_index(dataset)
    facts = {"nbytes": "1", "sha256": "ab"}
    path.write_bytes(parquet_bytes(read_parquet(str(path)).replace_schema_metadata(facts)))
    return rf"{path}: its metadata tell of another tar"


def miscount_a_shard(dataset: Path) -> str:
    snapshot = newest(dataset)
    first, *others = snapshot.shards
    publish(replace(snapshot, shards=(replace(first, samples=first.samples + 1), *others)))
    return rf"{first_index(dataset)}: has 4 samples, and the manifest says 5"


def miscount_a_reason(dataset: Path) -> str:
    snapshot = newest(dataset)
    publish(replace(snapshot, counts=snapshot.counts | {"too_small": 7}))
    return r"manifest\.json: counts 7 too_small, and the plan has 0"


def edit_the_config(dataset: Path) -> str:
    publish(replace(newest(dataset), config={}))
    return r"manifest\.json: its config, plan_sha256 and parent do not give its id"


def unreadable_manifest(dataset: Path) -> str:
    path = local(newest(dataset).url) / "manifest.json"
    path.write_text("{")
    return rf"{path}: not a manifest of headrace"


def lose_the_parent(dataset: Path) -> str:
    parent = newest(dataset).parent
    shutil.rmtree(dataset / "snapshots" / parent)
    return rf"manifest\.json: its parent '{parent}' is no snapshot here"


def latest_to_nowhere(dataset: Path) -> str:
    (dataset / "LATEST").write_text("0123456789abcdef\n")
    return r"LATEST: names '0123456789abcdef', which is no snapshot"


def flip_a_bit_of_latest(dataset: Path) -> str:
    flip(dataset / "LATEST", 3, 0x80)
    return r"LATEST: names '\S+', which is no snapshot"


def no_latest(dataset: Path) -> str:
    (dataset / "LATEST").unlink()
    return r"LATEST: no such file"


def retire_the_newest(dataset: Path) -> str:
    retired.retire(newest(dataset).url, newest(dataset).parent)
    return rf"LATEST: names '{newest(dataset).id}', which was retired"


def retired_for_nobody(dataset: Path) -> str:
    retired.retire(f"{dataset}/snapshots/{newest(dataset).parent}", "00ff")
    return r"retired\.json: says that '00ff' succeeds it, which is no snapshot here"


def retired_by_damage(dataset: Path) -> str:
    (local(newest(dataset).url) / retired.NAME).write_bytes(b"{")
    return r"retired\.json: does not say what succeeds it"


def remove_a_part(dataset: Path) -> str:
    path = local(plan.part_url(newest(dataset).url, 1))
    path.unlink()
    return rf"{path}: no such file"


def remove_sources(dataset: Path) -> str:
    path = local(plan.sources_url(newest(dataset).url))
    path.unlink()
    return rf"{path}: no such file"


def change_part(dataset: Path, change: Callable[[list[dict]], object], number: int = 0) -> Path:
    path = local(plan.part_url(newest(dataset).url, number))
    rows = read_parquet(str(path)).to_pylist()
    change(rows)
    path.write_bytes(parquet_bytes(pa.Table.from_pylist(rows, plan.PLAN_SCHEMA)))
    return path


def drop_a_row(dataset: Path) -> str:
    path = change_part(dataset, lambda rows: rows.pop())
    return rf"{path}: has 4 rows, and sources\.parquet says 5"


def a_row_without_a_reason(dataset: Path) -> str:
    path = change_part(dataset, lambda rows: rows[2].update(keep=False))
    return rf"{path}: row 2 is neither kept, with a place, nor dropped, with a reason"


def another_detail(dataset: Path) -> str:
    change_part(dataset, lambda rows: rows[2].update(detail="a word"))
    return rf"{local(newest(dataset).url)}/plan: not the verdicts that plan_sha256 names"


def another_place(dataset: Path) -> str:
    path = change_part(dataset, lambda rows: rows[2].update(position=3))
    return rf"{path}: 1 images are not where it says: \S+idx\.parquet has no key \w+ at place 3"


def an_image_less(dataset: Path) -> str:
    gone = {"keep": False, "reason": "too_small", "shard": None, "position": None}
    change_part(dataset, lambda rows: rows[2].update(gone, shard_key=None))
    return r"idx\.parquet: has 1 images that the plan of \S+ does not put there: key \w+ at place 2"


def a_shard_too_many(dataset: Path) -> str:
    change_part(dataset, lambda rows: rows[2].update(shard=9))
    return r"plan: sends images to shard 9, and the manifest has 4"


def a_key_twice(dataset: Path) -> str:
    key = read_parquet(plan.part_url(newest(dataset).url, 0))["shard_key"][1].as_py()
    change_part(dataset, lambda rows: rows[1].update(shard_key=key), number=1)
    return rf"plan: gives the key {key} to 2 images, the first of them row 1 of the pool"


@pytest.mark.parametrize(
    "damage",
    [
        cut_tar,
        flip_a_bit_of_an_image,
        remove_tar,
        remove_index,
        flip_a_bit_of_an_index,
        shift_an_offset,
        index_of_another_tar,
        miscount_a_shard,
        miscount_a_reason,
        edit_the_config,
        unreadable_manifest,
        lose_the_parent,
        latest_to_nowhere,
        no_latest,
        flip_a_bit_of_latest,
        retire_the_newest,
        retired_for_nobody,
        retired_by_damage,
        remove_a_part,
        remove_sources,
        drop_a_row,
        a_row_without_a_reason,
        another_detail,
        another_place,
        an_image_less,
        a_shard_too_many,
        a_key_twice,
    ],
)
def test_each_damage_is_named(dataset, damage):
    wanted = damage(dataset)
    found = damages(dataset)
    assert any(re.search(wanted, line) for line in found), found


def test_damage_does_not_hide_damage_and_the_command_ends_with_1(dataset):
    wanted = [flip_a_bit_of_an_image(dataset), another_detail(dataset), miscount_a_reason(dataset)]
    (dataset / newest(dataset).shards[2].index_path).unlink()
    result = command("verify", dataset)
    assert result.exit_code == 1
    for pattern in [*wanted, r"00000002\.idx\.parquet: no such file"]:
        assert re.search(pattern, result.output), pattern
    assert "damaged: 4 findings in 2 snapshots" in result.output


def test_one_damaged_file_is_one_finding(dataset):
    flip_a_bit_of_an_image(dataset)
    assert len(damages(dataset)) == 1


def test_of_a_retired_snapshot_the_manifest_alone_is_checked(dataset):
    snapshot = newest(dataset)
    retired.retire(f"{snapshot.dataset}/snapshots/{snapshot.parent}", snapshot.id)
    lose = dataset / "snapshots" / snapshot.parent / "plan"
    shutil.rmtree(lose)
    checked = verify.run(str(dataset))
    assert (checked.damages, checked.snapshots, checked.retired) == ([], 2, 1)


def test_a_folder_without_a_snapshot_is_an_error(tmp_path):
    with pytest.raises(HeadraceError, match="no snapshot here to verify"):
        verify.run(str(tmp_path))


# What the refresh did, as the other two commands tell it


def test_the_list_shows_what_the_child_shares(sound):
    child, parent = json.loads(command("snapshots", sound, "--json").output)
    assert (child["samples"], child["shards"], child["shared"]) == (12, 4, 1)
    assert (parent["samples"], parent["shards"], parent["shared"]) == (10, 3, 0)
    assert child["parent"] == parent["id"]


def test_the_difference_is_what_was_taken_down_and_what_came_with_the_new_tar(sound):
    child = newest(sound)
    told = json.loads(command("diff", f"{sound}/snapshots/{child.parent}", sound, "--json").output)
    assert told["entering"] == {"not_in_pool": 5}
    assert told["leaving"] == {"taken_down": 3}
    assert told["moved"] == []
    shards = {kind: [one["samples"] for one in those] for kind, those in told["shards"].items()}
    assert shards == {"added": [4, 1], "shared": [4], "rewritten": [3], "removed": [2]}
    assert "decide.lists.deny" in str(told["settings"]["config"])
