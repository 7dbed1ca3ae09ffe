"""Lists in slices: every row in exactly one, whatever the file is cut into."""

import random
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.fetch import urls
from pipeline.fetch.urls import ListConfig
from pipeline.format.errors import HeadraceError

HEAD = "url,caption,score\n"


def table(count: int) -> pa.Table:
    numbers = range(count)
    return pa.table(
        {
            "url": [f"http://host/{n}.jpg" for n in numbers],
            "caption": [f"caption {n}" for n in numbers],
            "boxes": [[[0.0, 0.5, 1.0, 1.0]] * (n % 3) for n in numbers],
        }
    )


def rows_of(config: ListConfig, size: int) -> list[list[dict]]:
    return [urls.read(part, config).to_pylist() for part in urls.slices(config, size)]


@pytest.mark.parametrize("group", [1, 3, 7, 100])
@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_a_parquet_list_is_cut_into_slices_of_consecutive_rows(tmp_path, group, size):
    pq.write_table(table(20), tmp_path / "list.parquet", row_group_size=group)
    cut = rows_of(ListConfig(url=str(tmp_path / "list.parquet")), size)
    assert [row for rows in cut for row in rows] == table(20).to_pylist()
    assert [len(rows) for rows in cut[:-1]] == [size] * (len(cut) - 1)


def test_files_of_a_pattern_follow_each_other_and_share_no_slice(tmp_path):
    for number in (0, 1):
        pq.write_table(table(5), tmp_path / f"{number}.parquet")
    cut = rows_of(ListConfig(url=str(tmp_path / "{0..1}.parquet")), 3)
    assert [len(rows) for rows in cut] == [3, 2, 3, 2]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_a_csv_list_may_have_quotes_line_breaks_and_strange_letters(tmp_path, size):
    records = ['a,"two\nlines, and ""quotes""",1', "b,ünïcode \x00,2", "", "c,,", "d,last,4"]
    text = "\ufeff" + HEAD + "\r\n".join(records)
    (tmp_path / "list.csv").write_bytes(text.encode() + b"\nlatin,caf\xe9,5,too,many\nshort")
    found = [
        row for rows in rows_of(ListConfig(url=str(tmp_path / "list.csv")), size) for row in rows
    ]
    assert found == [
        {"url": "a", "caption": 'two\nlines, and "quotes"', "score": "1"},
        {"url": "b", "caption": "ünïcode \x00", "score": "2"},
        {"url": "c", "caption": "", "score": ""},
        {"url": "d", "caption": "last", "score": "4"},
        {"url": "latin", "caption": "caf\ufffd", "score": "5"},
        {"url": "short", "caption": None, "score": None},
    ]


def test_columns_are_named_by_the_config_and_others_are_kept(tmp_path):
    (tmp_path / "list.csv").write_text("URL,TEXT,url,similarity\na,b,other,0.3\n")
    config = ListConfig(url=str(tmp_path / "list.csv"), url_column="URL", caption_column="TEXT")
    assert rows_of(config, 9) == [[{"url": "a", "caption": "b", "similarity": "0.3"}]]


def problem(path: Path) -> str:
    with pytest.raises(HeadraceError) as caught:
        urls.slices(ListConfig(url=str(path)), 10)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    made = {
        "no-column.csv": (b"uri,text\na,b\n", "list.url_column"),
        "empty.csv": (b"", "no column 'url'"),
        "no-rows.csv": (HEAD.encode(), "no rows"),
        "open-quote.csv": (HEAD.encode() + b'a,"never closed\n', "not a readable csv"),
        "twice.csv": (b"url,caption,a,a\nu,c,1,2\n", "same name"),
        "one-line.csv": (HEAD.encode() + b"x" * 5_000_000, "a line of over"),
        "damaged.parquet": (b"PAR1 no", "not a readable parquet"),
        "list.txt": (b"a\n", ".parquet or a .csv"),
    }
    for name, (data, words) in made.items():
        (tmp_path / name).write_bytes(data)
        assert words in problem(tmp_path / name)


def test_a_column_that_json_cannot_hold_is_named(tmp_path):
    bytes_column = table(2).append_column("thumbnail", pa.array([b"a", b"b"]))
    pq.write_table(bytes_column, tmp_path / "list.parquet")
    assert "'thumbnail' is binary" in problem(tmp_path / "list.parquet")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_list(tmp_path, kind):
    count, filler = 40_000, random.Random(1).randbytes(100).hex()
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        path.write_text(HEAD + "".join(f"http://h/{n},{filler},1\n" for n in range(count)))
    else:
        columns = {"url": [str(n) for n in range(count)], "caption": [filler] * count}
        pq.write_table(pa.table(columns), path, row_group_size=1000, use_dictionary=False)
    config = ListConfig(url=str(path))
    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    part = urls.slices(config, 100)[390]
    assert urls.read(part, config)["url"][0].as_py().endswith("39000")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000  # of 8 MB
    assert pa.total_allocated_bytes() - arrow < 3_000_000
    tracemalloc.stop()
