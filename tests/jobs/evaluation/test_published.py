"""The published figures against themselves: rows against their means, tables against each other."""

import pytest

from jobs.evaluation.published import BENCHMARKS, SIZES, TABLE_6, TABLES_7_8


def test_there_are_eleven_rows_of_fifteen_sets():
    assert len(TABLE_6) == 11
    assert len(BENCHMARKS) == 15
    assert {len(row.values) for row in TABLE_6} == {15}
    assert len({(row.name, row.trunk) for row in TABLE_6}) == 11


@pytest.mark.parametrize("row", TABLE_6, ids=lambda row: f"{row.name} {row.trunk}")
def test_each_rows_mean_is_the_one_that_is_printed(row):
    assert sum(row.values) / 15 == pytest.approx(row.mean, abs=0.1)


def test_in_1k_is_the_same_in_tables_6_and_7():
    rows = {row.name: row.values[0] for row in TABLE_6}
    last = dict(zip(SIZES, TABLES_7_8["attentive, last layers"], strict=True))
    assert {size: rows[f"AIM-{size}"] for size in SIZES} == last
    assert rows["AIM-7B (20th layer)"] == TABLES_7_8["attentive, best layers"][-1]


def test_the_more_is_trained_and_the_larger_the_trunk_the_better():
    columns = list(TABLES_7_8.values())
    for size in range(len(SIZES)):
        assert columns[0][size] < columns[1][size] < columns[2][size]
    for row in columns:
        assert list(row) == sorted(row)


def test_sizes_are_stated_where_the_paper_has_them():
    unknown = [key for key, one in BENCHMARKS.items() if one.size is None]
    assert unknown == ["iwildcam"]
    assert BENCHMARKS["dtd"].size == (3760, 1880, 47)
    assert BENCHMARKS["inat18"].size.classes == 8142
