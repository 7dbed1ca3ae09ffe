"""What is done, what is missing, what is tried again: read from the pool itself."""

import json
import shutil

import pytest

from pipeline.fetch import plan
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.plan import Totals
from pipeline.fetch.shard import write_shard
from pipeline.format.errors import HeadraceError
from tests.pipeline.fetch.fetching import config, listed, sidecar
from tests.pipeline.fetch.server import hosts, http, image, sends

FOUR = {"rows": 4}


def write_all(checked: FetchConfig, work: list[plan.Work]) -> list[int]:
    plan.begin(checked, plan.slices(checked))
    for each in work:
        write_shard(each, checked, hosts())
    return [each.number for each in work]


def missing(checked: FetchConfig) -> list[plan.Work]:
    return plan.missing(checked, plan.slices(checked))


def retries(checked: FetchConfig) -> list[plan.Work]:
    return plan.retries(checked, plan.slices(checked))


def totals(checked: FetchConfig) -> Totals:
    return plan.totals(checked, plan.slices(checked))


def test_a_shard_is_done_when_its_stats_are_there(web, tmp_path):
    listed(tmp_path, [web.url(f"/image/{n}") for n in range(10)])
    checked = config(tmp_path, shards=FOUR)
    assert write_all(checked, missing(checked)) == [0, 1, 2]
    assert missing(checked) == []
    (tmp_path / "pool" / "00000001_stats.json").unlink()
    assert [work.number for work in missing(checked)] == [1]
    assert totals(checked) == Totals(rows=6, ok=6, failed={}, undone=1)


def test_failed_rows_are_tried_again_in_new_shards_until_they_come(web, tmp_path):
    """Three slices; rows 1 and 6 fail once and twice, row 9 for good."""
    fail = sends(http(b"", status="404 Not Found"))
    web.routes |= {"/late-1/": fail, "/late-6/": fail}
    paths = [f"/image/{n}" for n in range(10)]
    paths[1], paths[6], paths[9] = "/late-1/", "/late-6/", "/missing"
    listed(tmp_path, [web.url(path) for path in paths], page=[[n] for n in range(10)])
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    assert totals(checked) == Totals(10, 7, {"http_404": 3}, 0)
    before = {path: path.read_bytes() for path in (tmp_path / "pool").iterdir()}

    web.routes["/late-1/"] = image
    assert write_all(checked, retries(checked)) == [3, 4, 5]
    assert totals(checked) == Totals(10, 8, {"http_404": 2}, 0)
    assert [row["retry_of"] for row in sidecar(tmp_path, 3)] == ["000000000001"]
    row = sidecar(tmp_path, 4)[0]
    assert (row["key"], row["retry_of"]) == ("000000040000", "000000010002")
    assert (row["caption"], row["page"]) == ("picture 6", [6])

    web.routes["/late-6/"] = image
    assert write_all(checked, retries(checked)) == [7, 8]
    assert totals(checked) == Totals(10, 9, {"http_404": 1}, 0)
    assert [row["retry_of"] for row in sidecar(tmp_path, 7)] == ["000000010002"]
    assert [work.number for work in retries(checked)] == [11]

    assert {path: path.read_bytes() for path in before} == before
    assert (web.asked("/late-1/"), web.asked("/late-6/"), web.asked("/missing")) == (2, 3, 3)


def test_a_generation_that_was_cut_off_is_completed_before_the_next(web, tmp_path):
    listed(tmp_path, [web.url("/missing")] * 9)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    assert write_all(checked, retries(checked)[:1]) == [3]
    assert write_all(checked, retries(checked)) == [4, 5]
    assert write_all(checked, retries(checked)) == [6, 7, 8]


def test_slices_without_a_shard_are_not_retried(web, tmp_path):
    listed(tmp_path, [web.url("/missing")] * 8)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked)[:1])
    assert [work.number for work in retries(checked)] == [2]
    assert totals(checked).undone == 1


def test_a_shard_is_not_fetched_anew_below_its_retries(web, tmp_path):
    listed(tmp_path, [web.url("/missing")] * 8)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    write_all(checked, retries(checked))
    (tmp_path / "pool" / "00000001_stats.json").unlink()
    with pytest.raises(HeadraceError, match="00000003"):
        missing(checked)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"shards": {"rows": 5}}, "rows"), ({"shards": FOUR | {"resize": 512}}, "resize")],
)
def test_a_pool_is_not_continued_with_another_shape(web, tmp_path, changes, words):
    listed(tmp_path, [web.url("/jpeg")] * 6)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    with pytest.raises(HeadraceError, match=words):
        plan.slices(config(tmp_path, **changes))


def test_a_pool_is_not_continued_with_another_list(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg")] * 6)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    listed(tmp_path, [web.url("/jpeg")] * 7)
    with pytest.raises(HeadraceError, match="files"):
        plan.slices(checked)


def test_other_limits_may_change_between_runs(web, tmp_path):
    listed(tmp_path, [web.url("/missing")] * 6)
    checked = config(tmp_path, shards=FOUR)
    write_all(checked, missing(checked))
    patient = config(tmp_path, shards=FOUR, download={"timeout": 60}, polite={"delay": 2})
    assert len(retries(patient)) == 2


def test_a_pool_of_another_program_is_left_alone(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg")])
    checked = config(tmp_path)
    write_all(checked, missing(checked))
    (tmp_path / "pool" / "fetch.json").unlink()
    with pytest.raises(HeadraceError, match="another program"):
        plan.slices(checked)


def test_damaged_stats_are_named(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg")])
    checked = config(tmp_path)
    write_all(checked, missing(checked))
    (tmp_path / "pool" / "00000000_stats.json").write_text("{")
    with pytest.raises(HeadraceError, match="00000000_stats"):
        totals(checked)


def test_the_record_of_a_pool_holds_no_more_than_what_its_shards_follow_from(web, tmp_path):
    listed(tmp_path, [web.url("/jpeg")] * 6)
    checked = config(tmp_path, shards=FOUR)
    plan.begin(checked, plan.slices(checked))
    record = json.loads((tmp_path / "pool" / "fetch.json").read_text())
    assert set(record) == {"format", "files", "columns", "slices", "rows", "resize"}
    shutil.rmtree(tmp_path / "pool")
    assert len(missing(checked)) == 2  # a look writes nothing
    assert not (tmp_path / "pool").exists()
