"""The benchmark of refreshes runs, and at the least sizes already shows what it is to show."""

import io
import itertools

import pytest
from PIL import Image

from pipeline.format import store
from tests.benchmarks.refresh import weeks
from tests.benchmarks.refresh.chain import chain
from tests.benchmarks.refresh.plot import picture
from tests.benchmarks.refresh.serving import serving


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    return list(chain(tmp_path_factory.mktemp("chain") / "out", 2, 20, workers=2))


@pytest.mark.slow
def test_a_refresh_reads_measures_and_writes_what_is_new_and_no_more(rows):
    first, one, other = rows
    assert [row["images_pool"] for row in rows] == [20, 40, 60]
    assert [row["images_measured"] for row in rows] == [20, 20, 20]
    for name in ("image_bytes_read", "shard_bytes_written"):
        assert one[name] == pytest.approx(other[name], rel=0.01)
        assert 0 < one[name] <= first[name]
    assert one["image_bytes_read"] <= 2.1 * one["pool_bytes_new"]  # to measure, and to write
    assert other["plan_bytes_written"] > one["plan_bytes_written"]
    assert other["ledger_bytes"] > one["ledger_bytes"] > first["ledger_bytes"]


@pytest.mark.slow
def test_a_copy_of_last_week_falls_to_it(rows):
    assert [row["images_kept"] for row in rows] == [20, 39, 58]
    assert [row["parent"] for row in rows] == [None, *(row["snapshot"] for row in rows[:2])]


@pytest.mark.slow
def test_the_picture_shows_them_and_is_the_same_for_the_same_rows(rows):
    for stage in ("list", "measure", "decide", "gates", "write"):
        assert all(stage in row["seconds_of"] for row in rows[1:])
    drawn = picture(rows)
    assert Image.open(io.BytesIO(drawn)).format == "PNG"
    assert picture(rows) == drawn != picture(rows[:2])


def test_what_is_served_is_what_was_asked_for_and_counted(tmp_path):
    size = weeks.write_week(tmp_path, 0, 120)
    data = [path.read_bytes() for path in sorted(tmp_path.glob("*.tar"))]
    with serving(tmp_path) as server:
        urls = store.expand(f"{server.url}/*.tar")
        assert server.nbytes == 0
        assert [store.read_bytes(url) for url in urls] == data
        assert server.nbytes == size == sum(map(len, data))
        assert store.read_bytes(urls[0], 512, 1024) == data[0][512:1024]
        assert server.nbytes == size + 512


def test_weeks_are_the_same_each_time_and_differ_from_each_other(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        for week in (0, 1):
            weeks.write_week(tmp_path / name, week, 3)
    files = [path.read_bytes() for path in sorted(tmp_path.rglob("*.tar"))]
    assert files[:2] == files[2:]
    assert all(
        weeks.jpeg(*a) != weeks.jpeg(*b) for a, b in itertools.pairwise([(0, 0), (1, 0), (1, 1)])
    )
