"""A dataset week by week: only what is new is measured and written, and old verdicts stand."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cluster, curate, refresh, why
from jobs.cli import app
from jobs.config import CurateConfig
from pipeline import plan
from pipeline.format.chain import chain
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, index_tar, latest, read_parquet
from tests.conftest import DEMO_DATA
from tests.jobs import curation
from tests.pipeline.making import png, tar_part

TARS = sorted((DEMO_DATA / "pool").glob("*.tar"))


@pytest.fixture(scope="module", autouse=True)
def one_ray():
    """One Ray for every curation in this file."""
    with cluster.session(2):
        yield


class Weeks:
    """A pool that grows, and the dataset made of it."""

    def __init__(self, pool: Path, folder: Path) -> None:
        self.pool, self.more, self.dataset = pool, folder / "more", folder / "dataset"
        self.more.mkdir()

    def bring(self, *tars: Path) -> None:
        """New sources, which this dataset alone has."""
        for tar in tars:
            shutil.copy(tar, self.more)

    def config(self, deny: list[dict[str, Any]] = (), **changes: Any) -> CurateConfig:
        """The demo's rules, with this takedown list."""
        rules = curation.fields(self.dataset)["decide"] | {"lists": {"deny": list(deny)}}
        urls = [f"{self.pool}/*.tar", *map(str, sorted(self.more.iterdir()))]
        pool = {"sources": [{"url": url} for url in urls]}
        return curation.config(self.dataset, **{"decide": rules, **pool, **changes})

    def refresh(self, deny: list[dict[str, Any]] = (), rebase: bool = False, **changes: Any):
        """A refresh that any drift may pass."""
        return refresh.run(self.config(deny, **changes), 2, rebase, accept_drift=True)

    def files(self) -> dict[str, str]:
        """Path → digest of all files but run records."""
        return curation.contents(self.dataset)


def rows_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    return plan.read(snapshot.url).to_pylist()


def holds_what_its_plan_says(snapshot: Snapshot) -> None:
    """Each kept row lies where the plan has it, in shards that are what the manifest says."""
    planned: dict[int, dict[int, str]] = {number: {} for number in range(len(snapshot.shards))}
    for row in rows_of(snapshot):
        if row["keep"]:
            planned[row["shard"]][row["position"]] = row["shard_key"]
    for shard, keys in zip(snapshot.shards, planned.values(), strict=True):
        index = index_tar(f"{snapshot.dataset}/{shard.path}")
        assert index.equals(read_parquet(f"{snapshot.dataset}/{shard.index_path}"))
        assert index["key"].to_pylist() == [keys[at] for at in range(len(keys))]
        assert shard.samples == len(keys)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> tuple[Weeks, Snapshot, Snapshot]:
    """Three tars, then two more."""
    folder = tmp_path_factory.mktemp("weeks")
    (folder / "pool").mkdir()
    weeks = Weeks(folder / "pool", folder)
    for tar in TARS[:3]:
        shutil.copy(tar, weeks.pool)
    first = weeks.refresh()
    for tar in TARS[3:5]:
        shutil.copy(tar, weeks.pool)
    return weeks, first, weeks.refresh()


@contextmanager
def away(*files: Path) -> Iterator[None]:
    """Without these files in the block, and as if nothing had been after it."""
    for file in files:
        file.rename(file.with_suffix(".away"))
    try:
        yield
    finally:
        for file in files:
            file.with_suffix(".away").replace(file)


def test_the_first_refresh_is_a_curation(grown, tmp_path):
    weeks, first, _ = grown
    config = curation.config(
        tmp_path / "dataset", sources=[{"url": f"{weeks.pool}/0000000[012].tar"}],
        decide=weeks.config().decide.model_dump(),
    )  # fmt: skip
    made = curate.run(config, 2)
    assert first.parent is None
    assert [(s.samples, s.sha256) for s in made.shards] == [
        (s.samples, s.sha256) for s in first.shards
    ]


def test_old_verdicts_stand_and_their_shards_are_shared(grown):
    _, first, second = grown
    assert second.parent == first.id
    assert second.shards[: len(first.shards)] == first.shards
    assert all(shard.path.startswith(f"shards/{second.id}/") for shard in second.shards[3:])
    old = rows_of(first)
    assert rows_of(second)[: len(old)] == old
    assert Counter(row["generation"] for row in rows_of(second)) == Counter(
        {0: len(old), 1: len(rows_of(second)) - len(old)}
    )
    holds_what_its_plan_says(second)


def test_new_images_are_judged_against_all_old_ones(grown):
    _, first, second = grown
    old = len(rows_of(first))
    new = rows_of(second)[old:]
    assert any(row["keeper"] is not None and row["keeper"] < old for row in new)


def test_nothing_new_publishes_nothing(grown):
    weeks, _, second = grown
    before = weeks.files()
    assert weeks.refresh() is None
    assert weeks.files() == before
    assert latest(second.dataset) == second.id


def test_a_setting_that_changes_no_verdict_publishes_nothing(grown):
    weeks, _, _ = grown
    before = weeks.files()
    assert weeks.refresh([{"kind": "uid", "values": ["0" * 32]}]) is None
    assert weeks.files() == before


@pytest.fixture
def weeks(grown, tmp_path) -> Weeks:
    """A copy of the grown dataset, over the same pool."""
    copied = Weeks(grown[0].pool, tmp_path)
    shutil.copytree(grown[0].dataset, copied.dataset)
    return copied


def test_only_what_is_new_is_read_and_written(weeks):
    second = newest(weeks)
    weeks.bring(TARS[5])
    before = weeks.files()
    with away(*(weeks.pool / tar.name for tar in TARS[:3])):  # old sources are not even looked at
        third = weeks.refresh()
    assert third.parent == second.id
    assert third.shards[: len(second.shards)] == second.shards
    assert rows_of(third)[: len(rows_of(second))] == rows_of(second)
    holds_what_its_plan_says(third)
    made = weeks.files().keys() - before.keys()
    assert {path for path in made if path.startswith("shards/")} == {
        path
        for shard in third.shards[len(second.shards) :]
        for path in (shard.path, shard.index_path)
    }
    assert len([path for path in made if path.startswith("ledger/")]) == 1
    record = json.loads(max((weeks.dataset / "runs").glob("*-refresh-*")).read_text())
    assert (record["snapshot"], record["parent"]) == (third.id, second.id)
    assert record["seconds"].keys() == {"list", "measure", "decide", "gates", "write"}


def newest(weeks: Weeks) -> Snapshot:
    found = refresh.newest(weeks.config())
    assert found is not None
    return found


def test_a_takedown_rewrites_only_the_shards_that_hold_the_image_and_its_copies(weeks):
    second = newest(weeks)
    rows = rows_of(second)
    keeper = next(n for n, row in enumerate(rows) if row["keep"] and row["shard"] == 1)
    listed = [{"kind": "uid", "values": [rows[keeper]["uid"]]}]
    third = weeks.refresh(listed)
    assert third.parent == second.id
    pairs = enumerate(zip(second.shards, third.shards, strict=True))
    assert [number for number, (old, new) in pairs if old != new] == [1]
    assert third.shards[1].path == f"shards/{third.id}/00000001.tar"
    assert third.shards[1].samples == second.shards[1].samples - 1
    after = rows_of(third)
    assert after[keeper]["reason"] == "taken_down"
    same = [n for n, row in enumerate(rows) if row["keeper"] == keeper]
    assert all(after[n]["reason"] in ("exact_duplicate", "near_duplicate") for n in same)
    behind = [row for row in rows if row["keep"] and row["shard"] == 1]
    behind = [row for row in behind if row["position"] >= rows[keeper]["position"]]
    assert sum(one != other for one, other in zip(rows, after, strict=True)) == len(behind)
    holds_what_its_plan_says(third)
    story = why.run(third.dataset, rows[keeper]["uid"])[0]
    assert story.shard is None
    assert weeks.refresh(listed) is None


def test_a_takedown_of_a_duplicated_image_lets_none_of_its_copies_in(weeks):
    rows = rows_of(newest(weeks))
    keepers = Counter(row["keeper"] for row in rows if row["keeper"] is not None)
    keeper = next(n for n, _ in keepers.most_common() if rows[n]["keep"])
    third = weeks.refresh([{"kind": "uid", "values": [rows[keeper]["uid"]]}])
    kept_before = {n for n, row in enumerate(rows) if row["keep"]}
    kept = {n for n, row in enumerate(rows_of(third)) if row["keep"]}
    assert kept == kept_before - {keeper}


def test_a_source_that_changed_in_place_is_judged_anew_and_its_old_rows_go(weeks):
    second = newest(weeks)
    with away(weeks.pool / TARS[1].name):
        shutil.copy(TARS[5], weeks.pool / TARS[1].name)
        third = weeks.refresh()
    assert third.counts["source_replaced"] > 0
    old = rows_of(second)
    for before, after in zip(old, rows_of(third), strict=False):
        if before["source"].endswith(TARS[1].name):
            assert not after["keep"]
    new = rows_of(third)[len(old) :]
    assert {row["source"].rpartition("/")[2] for row in new} == {TARS[1].name}
    assert any(row["keep"] for row in new)
    holds_what_its_plan_says(third)
    assert sum(third.counts.values()) == len(rows_of(third))


def test_a_rebase_decides_everything_anew_as_a_first_curation_would(weeks, tmp_path):
    second = newest(weeks)
    third = weeks.refresh(rebase=True)
    assert third.parent == second.id
    assert [one.id for one in chain(third)][1] == second.id
    elsewhere = weeks.config().model_copy(update={"dataset": str(tmp_path / "fresh")})
    fresh = curate.run(elsewhere, 2)
    assert [(s.samples, s.sha256) for s in third.shards] == [
        (s.samples, s.sha256) for s in fresh.shards
    ]
    assert {row["generation"] for row in rows_of(third)} == {0}
    (weeks.dataset / third.shards[0].path).write_bytes(b"rotten")
    healed = weeks.refresh(rebase=True)
    assert healed.parent == third.id
    assert [s.sha256 for s in healed.shards] == [s.sha256 for s in third.shards]
    holds_what_its_plan_says(healed)


def test_a_rebase_on_other_bytes_with_the_same_verdicts_writes_them(tmp_path):
    tar = tmp_path / "0.tar"
    fields = {"sources": [{"url": str(tar)}], "decide": {}}
    config = curation.config(tmp_path / "dataset", **fields)
    tar_part(tar, {"0.png": png(1), "0.txt": b"a dog"})
    first = refresh.run(config, 2)
    tar_part(tar, {"0.png": png(1), "0.txt": b"the cat"})
    second = refresh.run(config, 2, rebase=True)
    assert second.parent == first.id
    assert b"the cat" in (tmp_path / "dataset" / second.shards[0].path).read_bytes()


def test_of_two_refreshes_from_one_parent_the_slower_is_stale_and_no_snapshot(weeks, monkeypatch):
    second = newest(weeks)
    uids = [row["uid"] for row in rows_of(second) if row["keep"]]
    config = weeks.config([{"kind": "uid", "values": uids[:1]}])
    real, won = refresh.write.run, []

    def overtaken(*given: Any, **more: Any) -> Snapshot:
        monkeypatch.setattr(refresh.write, "run", real)
        won.append(weeks.refresh([{"kind": "uid", "values": uids[1:2]}]))
        return real(*given, **more)

    monkeypatch.setattr(refresh.write, "run", overtaken)
    stale = f"stale parent: LATEST names .* went on from {second.id}"
    with pytest.raises(HeadraceError, match=stale):
        refresh.run(config, 2, accept_drift=True)
    assert latest(second.dataset) == won[0].id
    manifests = list((weeks.dataset / "snapshots").glob("*/manifest.json"))
    assert len(manifests) == 3, "the loser is no snapshot"
    again = refresh.run(config, 2, accept_drift=True)
    assert again.parent == won[0].id


def test_images_unlike_the_parents_stop_before_anything_is_published(weeks):
    second = newest(weeks)
    before = weeks.files()
    weeks.bring(TARS[5])
    tight = {"from_images": 10, "error_rate": 1e-4, "keep_rate": 1e-4}
    with pytest.raises(HeadraceError, match=r"drift: .*keep_rate.* look at .*drift.html"):
        refresh.run(weeks.config(gates=tight), 2)
    made = {path for path in weeks.files() if path not in before and not path.startswith("ledger")}
    folders = {path.rpartition("/")[0] for path in made}
    (page,) = [path for path in made if path.endswith("drift.html")]
    assert not any(path.startswith("shards") or path.endswith("manifest.json") for path in made)
    assert page.rpartition("/")[0] in folders
    assert latest(second.dataset) == second.id
    assert refresh.run(weeks.config(gates=tight), 2, accept_drift=True).parent == second.id


def test_an_old_image_that_would_be_kept_by_now_and_whose_source_is_gone_stays_out(tmp_path):
    tar_part(tmp_path / "0.tar", {"0.png": png(0), "1.png": png(1)})
    tar_part(tmp_path / "1.tar", {})
    rules = {"quotas": {"per": "format", "at_most": 1}}
    fields = {"sources": [{"url": str(tmp_path / "*.tar")}], "decide": rules}
    first = refresh.run(curation.config(tmp_path / "dataset", **fields), 2)
    (kept,) = [row["uid"] for row in rows_of(first) if row["keep"]]
    (tmp_path / "0.tar").unlink()
    rules["lists"] = {"deny": [{"kind": "uid", "values": [kept]}]}
    second = refresh.run(curation.config(tmp_path / "dataset", **fields), 2, accept_drift=True)
    assert {row["reason"] for row in rows_of(second)} == {"taken_down", "source_gone"}
    assert second.shards == ()
    tar_part(tmp_path / "2.tar", {"2.png": png(2)})
    third = refresh.run(curation.config(tmp_path / "dataset", **fields), 2, accept_drift=True)
    old = [row["reason"] for row in rows_of(second)]
    assert [row["reason"] for row in rows_of(third)] == [*old, None]


def test_a_curation_of_a_tar_that_changed_in_place_is_another_snapshot(tmp_path):
    """Also where no verdict tells: the caption is in the shard."""
    config = curation.config(
        tmp_path / "dataset", sources=[{"url": str(tmp_path / "0.tar")}], decide={}
    )
    shards = []
    for caption in (b"a dog", b"the cat"):
        tar_part(tmp_path / "0.tar", {"0.png": png(1), "0.txt": caption})
        shards.append(curate.run(config, 2).shards[0])
        assert caption in (tmp_path / "dataset" / shards[-1].path).read_bytes()
    assert shards[0].path != shards[1].path


def test_images_that_are_altered_otherwise_than_the_parents_are_refused(weeks):
    with pytest.raises(HeadraceError, match=r"write.alter: .* --rebase"):
        weeks.refresh(write={"alter": {"max_side": 64}})


def test_a_source_that_is_gone_and_was_not_measured_by_the_new_settings_is_named(weeks):
    named = r"00000000.tar: the sources no longer hold .* 'image'"
    with away(weeks.pool / TARS[0].name), pytest.raises(HeadraceError, match=named):
        weeks.refresh(measure={"image": {"max_pixels": 10**6}})


def test_a_dry_run_lists_and_writes_nothing(weeks, capfd):
    before = weeks.files()
    weeks.bring(TARS[5])
    refresh.dry_run(weeks.config())
    told = capfd.readouterr().err
    assert "6 parts, 1 of them new" in told
    assert "image: 1 parts to do" in told
    assert weeks.files() == before


def test_the_command_says_that_nothing_is_new_and_ends_with_zero(grown, tmp_path):
    weeks, _, _ = grown
    config = tmp_path / "weekly.yaml"
    fields = json.loads(weeks.config().model_dump_json(exclude_defaults=True))
    config.write_text(json.dumps(fields))
    done = CliRunner().invoke(app, ["refresh", str(config)])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "nothing is new"
