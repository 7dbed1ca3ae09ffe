"""The gates of a refresh, from ledger and plans to the page, on a ledger that is made up."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs import decide, drift
from jobs.config import CurateConfig
from jobs.decide import Decision
from jobs.measure import Inputs
from pipeline import ledger, plan
from pipeline.decide.heritage import Heritage
from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, parquet_bytes
from pipeline.lineage import Lineage
from pipeline.pool.sample import Part

FAMILIES = {"image": "i", "clip": "c"}
ROWS = 1500
"""Of one part."""


def config(dataset: Path, **gates) -> CurateConfig:
    return CurateConfig.model_validate(
        {
            "dataset": str(dataset),
            "sources": [{"url": "pool/*.tar"}],
            "measure": {"clip": {"model": "ViT-B-32"}},
            "decide": {"cuts": [{"top_fraction": 0.5}]},
            "gates": gates,
        }
    )


def measured(dataset: str, number: int, families: dict[str, str], shift=0.0, count=ROWS) -> Part:
    """A part in the ledger, with scores if the families have them."""
    random = np.random.default_rng(number)
    name = f"part-{number}"
    sides = random.lognormal(6, 0.5, (count, 2)).astype(np.int32)
    image = {"width": sides[:, 0], "height": sides[:, 1], "nbytes": sides.prod(axis=1)}
    score = random.normal(0.25 + shift, 0.05, count).astype(np.float32)
    facts = {"image": pa.table(image), "clip": pa.table({"clip_score": score})}
    for family, mark in families.items():
        ledger.write_part(ledger.part_url(dataset, family, mark, name), facts[family])
    return Part("webdataset", f"file:///pool/{number}.tar", name, 1)


def decided(dataset: str, name: str, parts: list[Part], generations, families=FAMILIES) -> str:
    """A plan of these parts: by turns two rows are kept, and one is not."""
    url = address.join(dataset, "snapshots", name)
    sizes = [ledger.count_part(dataset, "image", families["image"], part.name) for part in parts]
    for number, size in enumerate(sizes):
        reasons = [None, None, "low_score"] * size
        plan.write_part(url, number, pa.table({"reason": pa.array(reasons[:size], pa.string())}))
    known = {"part": [part.name for part in parts], "generation": generations, "rows": sizes}
    sources = [
        {field: known.get(field, [None] * len(parts)) for field in plan.SOURCES_SCHEMA.names}
    ]
    table = pa.table(sources[0], schema=plan.SOURCES_SCHEMA)
    writing.publish(plan.sources_url(url), parquet_bytes(table))
    return url


def parent_of(dataset: str, families=FAMILIES) -> Snapshot:
    return Snapshot(dataset, "parent", None, {}, "", {}, 0, (), families, {})


def inputs(parts: list[Part], generations, inherited: int, parent: Snapshot) -> Inputs:
    lineage = Lineage(tuple(parts), tuple(generations), parent, inherited)
    return Inputs(lineage, [], FAMILIES, {})


def decision(kept: int = 0, gone: int = 0) -> Decision:
    return Decision("child", {}, "", {}, [], Heritage((kept,), np.arange(gone)), 0)


def refreshed(folder: Path, shift: float = 0.0, count: int = ROWS, **gates):
    """A parent of two parts and a child with a third one; its findings and its page."""
    dataset = address.absolute(str(folder))
    old = [measured(dataset, number, FAMILIES) for number in (0, 1)]
    new = measured(dataset, 2, FAMILIES, shift, count)
    parent = parent_of(dataset)
    decided(dataset, "parent", old, [0, 0])
    decided(dataset, "child", [*old, new], [0, 0, 1])
    found = inputs([*old, new], [0, 0, 1], 2, parent)
    findings = drift.check(config(folder, **gates), found, decision(2000), parent)
    return findings, (folder / "snapshots" / "child" / "drift.html").read_bytes()


def test_what_is_new_is_held_against_all_of_the_parent(tmp_path):
    findings, page = refreshed(tmp_path)
    assert [one.name for one in findings if one.out or one.why] == []
    assert b"parent parent: <code>3,000 images" in page
    assert b"new images: <code>1,500 images" in page


def test_a_shift_of_the_new_scores_alone_is_out_though_the_whole_pool_hides_it(tmp_path):
    findings, page = refreshed(tmp_path, shift=0.05)
    assert [one.name for one in findings if one.out] == ["clip_score"]
    assert b"One figure is out of its band" in page
    score = next(one for one in findings if one.name == "clip_score")
    assert score.after - score.before == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(("gone", "out"), [(150, []), (151, ["leaving"])])
def test_a_list_that_takes_away_too_much_is_out_though_what_is_new_is_as_ever(tmp_path, gone, out):
    refreshed(tmp_path)
    found = inputs(
        [Part("webdataset", "", f"part-{n}", 1) for n in range(3)], [0, 0, 1], 2,
        parent_of(address.absolute(str(tmp_path))),
    )  # fmt: skip
    findings = drift.check(config(tmp_path), found, decision(3000, gone), found.lineage.parent)
    assert [one.name for one in findings if one.out] == out


def test_bands_are_those_of_the_config(tmp_path):
    assert not any(one.out for one in refreshed(tmp_path, shift=0.05, scores=0.9)[0])
    few = refreshed(tmp_path, 0.05, from_images=1501)[0]
    assert {one.why for one in few if one.name != "leaving"} == {"too few images"}


def test_the_same_refresh_gives_the_same_page(tmp_path):
    assert refreshed(tmp_path / "one")[1] == refreshed(tmp_path / "other")[1]


def test_a_new_part_without_a_row_is_no_news(tmp_path):
    findings, _ = refreshed(tmp_path, count=0)
    assert {one.why for one in findings if one.name != "leaving"} == {"too few images"}


def test_where_no_part_is_new_the_whole_is_held_against_the_parent(tmp_path):
    dataset = address.absolute(str(tmp_path))
    parts = [measured(dataset, number, FAMILIES) for number in (0, 1)]
    decided(dataset, "parent", parts, [0, 0])
    child = decided(dataset, "child", parts, [0, 0])
    taken = pa.table({"reason": pa.array(["taken_down"] * ROWS, pa.string())})
    plan.write_part(child, 1, taken)
    parent = parent_of(dataset)
    found = inputs(parts, [0, 0], 2, parent)
    findings = drift.check(config(tmp_path), found, decision(2000, 1000), parent)
    assert [one.name for one in findings if one.out] == ["keep_rate", "leaving"]
    assert findings[-1].after == 0.5
    assert (findings[0].before, findings[0].after) == pytest.approx((2 / 3, 1 / 3))


def test_a_rebase_is_held_against_a_parent_that_was_measured_otherwise(tmp_path):
    """Its parts are not in the sources any more, and had no score: the rest is compared."""
    dataset, before = address.absolute(str(tmp_path)), {"image": "older"}
    old, new = measured(dataset, 0, before), measured(dataset, 1, FAMILIES)
    decided(dataset, "parent", [old], [3], before)
    decided(dataset, "child", [new], [0])
    parent = parent_of(dataset, before)
    findings = drift.check(config(tmp_path), inputs([new], [0], 0, parent), decision(), parent)
    assert [one.why for one in findings] == [""] * 5 + ["nothing to compare"]
    assert not any(one.out for one in findings)
    assert b"all images now" in (tmp_path / "snapshots" / "child" / "drift.html").read_bytes()


def test_facts_that_are_not_there_are_an_error_of_one_line(tmp_path):
    dataset = address.absolute(str(tmp_path))
    parts = [measured(dataset, number, FAMILIES) for number in (0, 1)]
    decided(dataset, "parent", parts[:1], [0])
    decided(dataset, "child", parts, [0, 1])
    (tmp_path / "ledger" / "clip" / "c" / "part-1.parquet").unlink()
    parent = parent_of(dataset)
    with pytest.raises(HeadraceError, match=r"part-1\.parquet: this part is not measured"):
        drift.check(config(tmp_path), inputs(parts, [0, 1], 1, parent), decision(), parent)


@pytest.mark.slow
def test_figures_counted_on_ray_are_those_of_one_process(tmp_path, monkeypatch):
    here, page = refreshed(tmp_path / "here", shift=0.02)
    monkeypatch.setattr(decide, "IN_PROCESS_ROWS", 10)
    assert refreshed(tmp_path / "ray", shift=0.02) == (here, page)
