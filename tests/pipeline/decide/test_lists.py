"""Deny and allow lists."""

import re
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.decide import lists, matching
from pipeline.decide.lists import ListsConfig
from pipeline.decide.verdict import Verdicts
from pipeline.format.errors import HeadraceError
from pipeline.measure import told
from tests.pipeline.making import rows

KEPT = (None, None)
URL = "https://cdn.example.com/pictures/Cat.jpg?size=2"


def judged(table: pa.Table, **config) -> list[tuple[str | None, str | None]]:
    checked = ListsConfig(**config)
    prepared = lists.prepare(checked)
    verdicts = Verdicts(table.num_rows)
    columns = table.select(sorted(lists.columns(checked)))
    lists.drop_denied(verdicts, columns, prepared)
    lists.drop_not_allowed(verdicts, columns, prepared)
    return list(zip(verdicts.reason, verdicts.detail, strict=True))


def denied(change, kind: str, *values: str) -> tuple[str | None, str | None]:
    return judged(rows(change), deny=[{"kind": kind, "values": values}])[0]


@pytest.mark.parametrize(("kind", "digits"), [("uid", 32), ("sha256", 64)])
def test_digests_are_met_whole(kind, digits):
    value = "0a" * (digits // 2 - 1) + "00"  # a closing zero byte counts as well
    near = "0a" * (digits // 2 - 1) + "01"
    met = ("taken_down", f"{value} is in the config's {kind} list")
    assert denied({kind: value}, kind, near, value.upper(), "ff" * (digits // 2)) == met
    assert denied({kind: value}, kind, near, "00" * (digits // 2)) == KEPT
    assert denied({kind: value}, kind, "ff" * (digits // 2)) == KEPT


def test_rows_without_bytes_are_on_no_list_of_digests():
    table = rows({"sha256": None}, {"sha256": "a" * 64}, {"sha256": None})
    found = judged(table, deny=[{"kind": "sha256", "values": ["a" * 64]}])
    assert [reason for reason, _ in found] == [None, "taken_down", None]


@pytest.mark.parametrize(
    "entry",
    ["example.com", "cdn.example.com", "EXAMPLE.com.", ".example.com", "*.example.com", "com"],
)
def test_a_domain_stands_for_all_hosts_under_it(entry):
    assert denied({"url": URL}, "domain", "other.org", entry)[0] == "taken_down"


@pytest.mark.parametrize(
    "entry", ["ample.com", "n.example.com", "a.cdn.example.com", "cdn.example"]
)
def test_a_domain_is_no_part_of_a_name(entry):
    assert denied({"url": URL}, "domain", entry) == KEPT


def test_the_longest_listed_domain_is_named():
    found = denied({"url": URL}, "domain", "com", "example.com")
    assert found == ("taken_down", "example.com is in the config's domain list")


def test_a_host_longer_than_names_may_be_still_lies_in_its_domain():
    for host in ("a." * 4000 + "example.com", "a" * 4000 + ".example.com"):
        assert denied({"url": f"http://{host}/"}, "domain", "example.com")[0] == "taken_down"
    cut = "a" * 4000 + "x" * (253 - len(".com")) + ".com"
    assert denied({"url": f"http://{cut}/"}, "domain", cut[-253:]) == KEPT


def test_domains_are_the_same_in_unicode_and_in_ascii():
    assert denied({"url": "http://a.münchen.de/"}, "domain", "xn--mnchen-3ya.de")[0] == "taken_down"
    assert denied({"url": "http://xn--mnchen-3ya.de/"}, "domain", "München.de")[0] == "taken_down"


@pytest.mark.parametrize(
    "entry",
    [
        URL,
        URL.lower(),
        "https://cdn.example.com/*",
        "*.EXAMPLE.com/*",
        "*cat.jpg*",
        "*?size=2",
        "*",
        "http*://cdn.example.com/*/Cat.jpg?size=2",
    ],
)
def test_urls_are_met_whole_or_by_a_pattern(entry):
    found = denied({"url": URL}, "url", "https://other.org/*", entry)
    shown = entry if "*" in entry else URL
    assert found == ("taken_down", f"{shown} is in the config's url list")


@pytest.mark.parametrize(
    "entry",
    [
        URL[:-1],
        URL[1:],
        URL.replace("?", "."),
        URL.replace(".", "x"),
        "https://cdn.example.com/",
        "*/dog*",
        "https://cdn?example.com/*",
        "[a-z]*",
        "(*",
        ".*\\.jpg*",
    ],
)
def test_urls_that_are_only_alike_are_not_met(entry):
    assert denied({"url": URL}, "url", entry) == KEPT


def test_many_patterns_are_each_named(monkeypatch):
    monkeypatch.setattr(matching, "PATTERNS_AT_ONCE", 3)
    patterns = [f"*/{number}/*" for number in range(10)]
    urls = [f"http://a/{number}/b" for number in (7, 11, 2, 2, 9)]
    found = judged(
        rows(*({"url": url} for url in urls), {}), deny=[{"kind": "url", "values": patterns}]
    )
    named = [detail and detail.split(" ")[0] for _, detail in found]
    assert named == ["*/7/*", None, "*/2/*", "*/2/*", "*/9/*", None]


def test_a_pattern_made_to_backtrack_takes_no_time():
    hostile = "http://a/" + "a" * 5000
    began = time.perf_counter()
    assert denied({"url": hostile}, "url", "*a" * 40 + "*b") == KEPT
    assert time.perf_counter() - began < 5


def test_a_url_with_a_line_break_is_one_url():
    assert denied({"url": "http://a/\nb"}, "url", "http://a/*")[0] == "taken_down"
    assert denied({"url": "x\nhttp://a/"}, "url", "http://a/*") == KEPT


def test_a_signed_url_is_met_as_the_ledger_holds_it():
    signed = "https://me:pw@a.com/b?w=1&X-Amz-Signature=0f&h=2"
    held = told.facts({"url": signed})["url"]
    assert "Signature" not in held
    assert denied({"url": held}, "url", signed) == (
        "taken_down",
        f"{held} is in the config's url list",
    )


def test_a_row_without_a_url_is_on_no_list_of_them():
    for kind, value in (("url", "*"), ("url", "http://a/"), ("domain", "a")):
        assert denied({"url": None}, kind, value) == KEPT


def test_only_what_an_allow_list_names_is_kept():
    table = rows({"url": URL}, {"url": "http://other.org/"}, {"url": None}, {"uid": "a" * 32})
    allow = [{"kind": "domain", "values": ["example.com"]}, {"kind": "uid", "values": ["a" * 32]}]
    other = ("not_selected", "not in the config's domain list, the config's uid list")
    assert judged(table, allow=allow) == [KEPT, other, other, KEPT]
    assert judged(table) == [KEPT] * 4


def test_denied_is_stronger_than_allowed():
    found = judged(
        rows({"url": URL}),
        allow=[{"kind": "domain", "values": ["example.com"]}],
        deny=[{"kind": "url", "values": ["*/pictures/*"]}],
    )
    assert found == [("taken_down", "*/pictures/* is in the config's url list")]


# Files


def test_a_text_file_holds_an_entry_a_line(tmp_path):
    path = tmp_path / "gone.txt"
    path.write_bytes(
        b"\xef\xbb\xbf# asked for in May\n\n  # again\r\nother.org\r\n Example.com \r\n"
    )
    found = judged(rows({"url": URL}), deny=[{"kind": "domain", "file": str(path)}])
    assert found == [("taken_down", f"example.com is in {path}")]
    config = ListsConfig(deny=[{"kind": "domain", "file": str(path)}])
    assert lists.files(config) == [str(path)]


def test_the_first_entry_after_a_byte_order_mark_counts(tmp_path):
    path = tmp_path / "gone.txt"
    path.write_bytes(b"\xef\xbb\xbfexample.com\n")
    found = judged(rows({"url": URL}), deny=[{"kind": "domain", "file": str(path)}])
    assert found[0][0] == "taken_down"


def test_a_url_with_a_fragment_is_no_comment(tmp_path):
    path = tmp_path / "gone.txt"
    path.write_text("http://a/#b\n")
    found = judged(rows({"url": "http://a/#b"}), deny=[{"kind": "url", "file": str(path)}])
    assert found[0][0] == "taken_down"


@pytest.mark.parametrize(("column", "setting"), [("url", {}), ("link", {"column": "link"})])
def test_a_parquet_file_holds_them_in_a_column(tmp_path, column, setting):
    path = tmp_path / "gone.parquet"
    pq.write_table(pa.table({"n": [1, 2], column: [None, URL]}), path)
    found = judged(rows({"url": URL}), deny=[{"kind": "url", "file": str(path), **setting}])
    assert found == [("taken_down", f"{URL} is in {path}")]


def test_files_that_are_not_what_they_should_be_are_refused(tmp_path):
    broken, numbers = tmp_path / "broken.parquet", tmp_path / "numbers.parquet"
    broken.write_bytes(b"PAR1 but not for long")
    pq.write_table(pa.table({"url": [1], "text": ["a"]}), numbers)
    for file, column, fault in (
        (broken, None, "not a readable parquet file"),
        (numbers, None, "column 'url' holds int64, not text"),
        (numbers, "uid", "no column 'uid'; name one of url, text under `column`"),
        (tmp_path / "none.txt", None, "no such file"),
    ):
        with pytest.raises(HeadraceError, match=re.escape(fault)):
            judged(rows({}), deny=[{"kind": "url", "file": str(file), "column": column}])


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("uid", "a" * 31),
        ("uid", "g" * 32),
        ("sha256", "a" * 32),
        ("domain", "https://example.com"),
        ("domain", "example.com/path"),
        ("domain", "example.com:80"),
        ("domain", "0.0.0.0 example.com"),
        ("domain", "*"),
        ("domain", "ex*mple.com"),
    ],
)
def test_an_entry_that_means_something_else_is_refused(kind, entry):
    """It would be met by nothing, and what was asked to go would stay."""
    with pytest.raises(HeadraceError, match=re.escape(f"the config's {kind} list: '{entry}'")):
        denied({}, kind, entry)


def test_a_list_is_a_file_or_values():
    for fields in ({}, {"file": "a", "values": ["b"]}):
        with pytest.raises(ValidationError, match="either a file or values"):
            ListsConfig(deny=[{"kind": "url", **fields}])


def test_a_long_list_is_read_in_blocks_and_searched(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.decide.entries.AT_ONCE", 7)
    path = tmp_path / "gone.txt"
    path.write_text("".join(f"{3 * number:064x}\n" for number in range(100)))
    table = rows(*({"sha256": f"{number:064x}"} for number in range(310)))
    found = judged(table, deny=[{"kind": "sha256", "file": str(path)}])
    gone = [row for row, (reason, _) in enumerate(found) if reason]
    assert gone == list(range(0, 300, 3))


def test_secrets_of_urls_in_the_config_are_in_no_manifest_and_patterns_are_met_without_them():
    signed, pattern = "https://me:pw@a.com/b?X-Amz-Signature=0f", "https://me:pw@a.com/*?size=2"
    config = ListsConfig(deny=[{"kind": "url", "values": [signed, pattern]}])
    assert config.deny[0].values == ("https://a.com/b", "https://a.com/*?size=2")
    assert denied({"url": "https://a.com/x?size=2"}, "url", pattern)[0] == "taken_down"
    uid = ListsConfig(deny=[{"kind": "uid", "values": ["0" * 32]}])
    assert uid.deny[0].values == ("0" * 32,)
