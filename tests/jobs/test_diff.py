"""`headrace diff`: images in and out by reason, shards by what became of them, settings."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import diff
from jobs.commands import keeping
from pipeline import plan
from pipeline.decide.config import DecideConfig
from pipeline.decide.rules import RulesConfig
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot
from tests.pipeline.report.curated import curate, photo, write_tar


def rules(**fields: int) -> DecideConfig:
    return DecideConfig(rules=RulesConfig(**fields))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    small = [(f"s{n}", photo(n, 40), "two words") for n in range(3)]
    short = [(f"w{n}", photo(10 + n), "word") for n in range(2)]
    tiny = [("both", photo(50, 20), "word")]
    write_tar(folder / "0.tar", [*small, *short, *tiny])
    write_tar(folder / "1.tar", [("new", photo(30), "two words"), ("bad", b"<html>", "none here")])
    return folder


@pytest.fixture(scope="module")
def before(folder) -> Snapshot:
    """Of the first tar, without its tiny image and those of one word."""
    return curate(folder / "a", str(folder / "0.tar"), rules(min_side=30, min_caption_words=2))


@pytest.fixture(scope="module")
def after(folder) -> Snapshot:
    """Of both tars, without what is small."""
    return curate(folder / "b", str(folder / "*.tar"), rules(min_side=50))


def command(*words: str):
    return CliRunner().invoke(keeping.app, ["diff", *words], catch_exceptions=False)


def test_images_that_come_and_go_are_counted_by_their_reason(before, after):
    found = diff.run(before.url, after.url)
    assert found.entering == Counter(caption_too_short=2, not_in_pool=1)
    assert found.leaving == Counter(too_small=3)
    assert found.moved == Counter({("not_in_pool", "unreadable"): 1})


def test_the_sums_are_those_of_the_manifests(before, after):
    found = diff.run(before.url, after.url)
    grown = found.entering.total() - found.leaving.total()
    assert after.counts["kept"] - before.counts["kept"] == grown


def test_turned_round_what_came_in_goes_out(before, after):
    there, back = diff.run(before.url, after.url), diff.run(after.url, before.url)
    assert (there.entering, there.leaving) == (back.leaving, back.entering)
    assert back.moved == Counter({("unreadable", "not_in_pool"): 1})
    assert (there.shards.added, there.shards.removed) == (back.shards.removed, back.shards.added)


def test_settings_that_changed_are_told_by_their_full_name(before, after):
    config = diff.run(before.url, after.url).settings["config"]
    assert config["decide.rules.min_side"] == (30, 50)
    assert config["decide.rules.min_caption_words"] == (2, 0)
    assert all(old != new for old, new in config.values())
    assert diff.run(before.url, after.url).settings["libraries"] == {}


def test_a_snapshot_does_not_differ_from_itself(before, folder):
    result = command(str(folder / "a"), before.url)
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()[3:]] == [
        ["0", "images", "in"],
        ["0", "images", "out"],
        ["0", "out", "of", "both,", "for", "another", "reason"],
        ["0", "shards", "added", "(0", "bytes)"],
        ["1", "shards", "shared", f"({before.shards[0].nbytes:,}", "bytes)"],
        ["0", "shards", "rewritten", "(0", "bytes)"],
        ["0", "shards", "removed", "(0", "bytes)"],
    ]


def test_a_person_reads_sums_with_their_reasons_below(before, after):
    told = [" ".join(line.split()) for line in command(before.url, after.url).output.splitlines()]
    assert told[:2] == [f"A {before.url}", f"B {after.url}"]
    at = told.index("3 images in")
    assert told[at : at + 5] == [
        "3 images in",
        "2 caption_too_short",
        "1 not_in_pool",
        "3 images out",
        "3 too_small",
    ]
    assert "config decide.rules.min_side: 30 → 50" in told


def test_of_a_list_a_person_reads_what_came_and_what_went(before, after, folder):
    told = command(before.url, after.url).output
    old, new = (f'{{"url": "{folder}/{name}.tar"}}' for name in "0*")
    assert f"config sources: without {old}, with {new}\n" in told


def test_a_long_setting_is_cut(before, after, monkeypatch):
    monkeypatch.setattr(diff, "CHARACTERS", 10)
    lines = diff.lines(diff.run(before.url, after.url))
    assert 'config sources: without {"url": "…, with {"url": "…' in lines


def test_a_program_gets_the_same_as_json(before, after):
    told = json.loads(command(before.url, after.url, "--json").output)
    assert told["leaving"] == {"too_small": 3}
    assert told["moved"] == [{"before": "not_in_pool", "after": "unreadable", "images": 1}]
    assert told["settings"]["config"]["decide.rules.min_side"] == {"before": 30, "after": 50}
    assert told["shards"]["shared"] == []


def test_pools_without_a_part_in_common_cannot_be_lined_up(folder, after, tmp_path):
    write_tar(tmp_path / "0.tar", [("k", photo(70), "two words")])
    other = curate(tmp_path / "d", str(tmp_path / "0.tar"))
    with pytest.raises(HeadraceError, match="no source in common that is the same; name two snap"):
        diff.run(after.url, other.url)


def test_a_part_with_other_rows_than_before_is_named(folder, before, tmp_path):
    other = curate(tmp_path / "d", str(folder / "0.tar"))
    plan.write_part(other.url, 0, plan.read_part(other.url, 0).slice(1))
    with pytest.raises(HeadraceError, match="has 6 images in one and 5 in the other"):
        diff.run(before.url, other.url)
