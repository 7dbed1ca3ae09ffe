"""The report: what a stranger reads is complete, true, harmless and the same each time."""

import hashlib
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from jobs import report
from pipeline import plan
from pipeline.decide.config import DecideConfig
from pipeline.decide.cut import CutConfig
from pipeline.decide.rules import Range
from pipeline.decide.verdict import Reason
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.snapshot import Snapshot
from pipeline.report import histograms, page, training
from pipeline.report.curation import Curation, Row, read_curation, rows_at
from pipeline.report.duplicates import copies
from pipeline.report.funnel import funnel
from pipeline.report.reasons import SETTINGS, WORDS, setting
from pipeline.report.tables import by_domain, by_source
from tests.pipeline.report.curated import DECIDE, RULES, curate, photo, write_tar

BAD = {"other": {"not_in_tar": 1}, "web": {"not_an_image": 2}}
RANGES = {"sharpness": Range(min=1000.0), "caption_words": Range(max=12)}
CUT = DECIDE.model_copy(
    update={
        "rules": RULES.model_copy(update={"ranges": RANGES}),
        "cuts": (CutConfig(top_fraction=0.5),),
    }
)


def read(snapshot: Snapshot) -> Curation:
    return read_curation(snapshot.url, lambda _: {"clip_score", "sharpness", "url"})


def all_rows(curation: Curation) -> list[Row]:
    return list(rows_at(curation.pool, range(curation.rows.num_rows)).values())


def write_run(folder: Path, snapshot: Snapshot) -> Path:
    """The folder of a run that drew three quarters from the snapshot."""
    sources = (Source("web", snapshot.url, 3, snapshot.samples), Source("other", "file:///o", 1, 9))
    writing.publish(str(folder / "mixture.json"), mixture_bytes(Mixture(sources)))
    config = json.dumps({"mixture": str(folder / "mixture.json"), "steps": 20})
    writing.publish(str(folder / "config.json"), config.encode())
    lines = [
        {"step": 0, "validation": {"causal": 2.0, "prefix": 2.1}},
        {"step": 10, "loss": 0.9, "drawn": {"other": 10, "web": 30}, "bad": {}, "digest": "a"},
        {"step": 20, "loss": 0.7, "drawn": {"other": 20, "web": 60}, "bad": BAD, "digest": "b7"},
        {"step": 20, "validation": {"causal": 0.6, "prefix": 0.5}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 30, "lo'
    writing.publish(str(folder / "metrics.jsonl"), text.encode())
    for step in (0, 10, 20):
        png = io.BytesIO()
        Image.new("RGB", (8, 4), (step, 0, 0)).save(png, "PNG")
        writing.publish(str(folder / "pictures" / f"{step:08d}.png"), png.getvalue())
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory, demo_data) -> Snapshot:
    pool = str(demo_data / "pool" / "0000000{4..5}.tar")
    return curate(tmp_path_factory.mktemp("scored"), pool, CUT)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, scored) -> Path:
    return write_run(tmp_path_factory.mktemp("run"), scored)


@pytest.fixture(scope="module")
def html(scored, run_folder) -> str:
    return page.render(scored.url, str(run_folder)).decode()


class Elements(HTMLParser):
    """All elements of a page with their attributes, and all its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_funnel_adds_up_to_the_pool_and_is_on_the_page(scored, html):
    rows = read(scored).rows
    found = funnel(rows, scored.config["decide"])
    assert found.pool == rows.num_rows == sum(scored.counts.values())
    assert found.kept + sum(step.dropped for step in found.steps) == found.pool
    assert {s.reason: s.dropped for s in found.steps if s.dropped} | {"kept": found.kept} == (
        scored.counts
    )
    for before, after in zip(found.steps, found.steps[1:], strict=False):
        assert after.before == before.left
    text = Elements(html).text
    assert all(f"{step.left:,}" in text for step in found.steps)


def test_rules_that_are_off_are_named_but_not_charted(html):
    text = " ".join(Elements(html).text.split())
    assert "Rules that are off: Taken down, Unsafe, In an evaluation set, Other language," in text
    assert html.count("Over the quota") == 1


def test_every_reason_has_words_and_a_setting():
    assert {*WORDS} == {"kept", *Reason}
    always_on = {Reason.UNREADABLE, Reason.SOURCE_REPLACED, Reason.SOURCE_GONE}
    assert {*SETTINGS} == {*Reason} - always_on


def test_a_setting_is_told_as_it_is_configured():
    fields = {
        "lists": {
            "deny": [{"kind": "domain", "values": ["a.example", "b.example"]}],
            "allow": [{"kind": "uid", "file": "mine.txt"}],
        },
        "safety": {"max": {"nsfw": 0.1}},
        "rules": {"min_side": 200, "ranges": {"sharpness": {"min": 0.5}}, "languages": ["en"]},
        "cuts": [{"score": "clip_score", "top_fraction": 0.3}],
        "duplicates": {"radius": None},
        "quotas": {"per": "domain", "at_most": 1000},
    }
    decide = DecideConfig.model_validate(fields).model_dump(mode="json")
    told = {reason: setting(reason, decide) for reason in Reason}
    assert told[Reason.UNREADABLE] == "always on"
    assert told[Reason.TAKEN_DOWN] == "domain: 2 in the config"
    assert told[Reason.NOT_SELECTED] == "uid: mine.txt"
    assert told[Reason.UNSAFE] == "nsfw max 0.1"
    assert told[Reason.TOO_SMALL] == "min_side 200"
    assert told[Reason.EXTREME_ASPECT] == told[Reason.CAPTION_TOO_SHORT] == "off"
    assert told[Reason.OUT_OF_RANGE] == "sharpness min 0.5"
    assert told[Reason.WRONG_LANGUAGE] == "en"
    assert told[Reason.LOW_SCORE] == "clip_score top 0.3"
    assert told[Reason.EXACT_DUPLICATE] == "on"
    assert told[Reason.NEAR_DUPLICATE] == told[Reason.SEMANTIC_DUPLICATE] == "off"
    assert told[Reason.OVER_QUOTA] == "1,000 a domain"


def test_the_cut_parts_the_rows_it_dropped_from_those_it_let_through(scored):
    curation = read(scored)
    found, *_ = histograms.histograms(curation.rows, scored.config["decide"])
    assert found.column == "clip_score"
    (cut,) = found.cuts
    by_reason = [
        (row.reason, row.facts["clip_score"])
        for row in all_rows(curation)
        if row.facts["clip_score"] is not None
    ]
    assert max(score for reason, score in by_reason if reason == "low_score") <= cut
    passed = (None, "exact_duplicate", "near_duplicate")
    assert min(score for reason, score in by_reason if reason in passed) == pytest.approx(cut)
    assert found.rows == len(by_reason)
    assert found.kept.sum() == scored.counts["kept"]
    assert found.fell.sum() == scored.counts["low_score"]
    assert found.fell[found.edges[:-1] >= cut].sum() == 0


def test_a_range_is_drawn_with_its_limit_and_what_fell_beyond_it(scored, html):
    curation = read(scored)
    _, found = histograms.histograms(curation.rows, scored.config["decide"])
    assert (found.column, found.limits, found.cuts) == ("sharpness", (1000.0,), ())
    fell = [
        row
        for row in all_rows(curation)
        if row.reason == "out_of_range" and row.detail.startswith("sharpness")
    ]
    assert found.fell.sum() == len(fell) > 0
    assert found.fell[found.edges[:-1] >= 1000].sum() == 0
    text = Elements(html).text
    assert "limit 1000" in text
    assert "cut at 0." in text


def test_a_histogram_reaches_to_every_limit_and_counts_every_row_once(scored):
    rows = read(scored).rows
    ranges = {"ranges": {"sharpness": {"min": -50.0, "max": 1e6}}}
    found = histograms.histograms(rows, {"rules": ranges})[0]
    assert found.edges[0] <= -50
    assert found.edges[-1] >= 1e6
    finite = [value for value in rows["sharpness"].to_pylist() if value is not None]
    assert found.rows == sum(map(math.isfinite, finite))


def test_whole_numbers_lie_in_the_middle_of_their_bars(scored):
    rows = read_curation(scored.url, lambda _: {"caption_words"}).rows
    (found,) = histograms.histograms(rows, scored.config["decide"])
    assert set(found.edges % 1) == {0.5}
    words = rows["caption_words"].to_pylist()
    counts = found.kept + found.fell + found.other
    for edge, count in zip(found.edges, counts, strict=False):
        low = words.count(int(edge + 0.5))
        assert count == low or edge in (found.edges[0], found.edges[-2])
    assert counts.sum() == len(words)


def test_a_dataset_without_scores_and_ranges_has_no_score_section(tmp_path):
    write_tar(tmp_path / "pool.tar", [(f"{n}", photo(n), f"number {n}") for n in range(3)])
    html = page.render(curate(tmp_path / "d", str(tmp_path / "pool.tar")).url).decode()
    assert 'id="scores"' not in html
    assert "#scores" not in html
    assert "nan" not in Elements(html).text


def test_every_duplicate_stands_beside_its_keeper(scored):
    curation = read(scored)
    found = copies(curation.rows)
    assert {kind.reason for kind in found} <= {"exact_duplicate", "near_duplicate"}
    rows = all_rows(curation)
    for kind in found:
        assert kind.total >= len(kind.groups) > 0
        for group in kind.groups:
            fell = [r.number for r in rows if (r.reason, r.keeper) == (kind.reason, group.keeper)]
            assert group.total == len(fell)
            assert list(group.copies) == fell[: len(group.copies)]
        sizes = [group.total for group in kind.groups]
        assert sizes == sorted(sizes, reverse=True)


def test_copies_of_each_kind_have_a_section_of_their_own(tmp_path):
    same, like, alike = photo(1), photo(2), photo(2, quality=85)
    samples = [("a", same, "x"), ("b", same, "x"), ("c", like, "x"), ("d", alike, "x")]
    write_tar(tmp_path / "pool.tar", [*samples, ("e", same, "x")])
    snapshot = curate(tmp_path / "d", str(tmp_path / "pool.tar"))
    near_copies, exact_copies = copies(read(snapshot).rows)
    (exact,), (near,) = exact_copies.groups, near_copies.groups
    assert (exact.total, {exact.keeper, *exact.copies}) == (2, {0, 1, 4})
    assert (near.total, {near.keeper, *near.copies}) == (1, {2, 3})
    text = Elements(page.render(snapshot.url).decode()).text
    assert "same bytes" in text
    assert " bits" in text


def test_origins_add_up_and_the_largest_come_first(tmp_path):
    urls = ["http://www.a.example/1", "https://a.example/2", "http://b.example/", None]
    for tar, numbers in (("big", range(3)), ("small", range(3, 4))):
        samples = [(f"k{n}", photo(n), "x" if n else "") for n in numbers]
        meta = {f"k{n}": json.dumps({"url": urls[n]}).encode() for n in numbers if urls[n]}
        write_tar(tmp_path / f"{tar}.tar", samples, **meta)
    curation = read(curate(tmp_path / "d", str(tmp_path / "*.tar")))
    big, small = by_source(curation.rows, curation.pool.sources).lines
    assert (big.name.rpartition("/")[2], big.pool, big.kept) == ("big.tar", 3, 2)
    assert (big.top, big.dropped) == ("Caption too short", 1)
    assert (small.pool, small.kept, small.top) == (1, 1, "")
    found = by_domain(curation.rows)
    assert [(line.name, line.pool, line.kept) for line in found.lines] == [
        ("a.example", 2, 1),
        ("b.example", 1, 1),
        ("no URL told", 1, 1),
    ]
    html = Elements(page.render(curation.snapshot.url).decode()).text
    assert "a.example" in html


def test_small_origins_are_one_line_together(tmp_path):
    samples = [(f"k{n:02}", photo(n, 32), "x") for n in range(33)]
    meta = {key: json.dumps({"url": f"http://{key}.example/"}).encode() for key, _, _ in samples}
    write_tar(tmp_path / "pool.tar", samples, **meta)
    found = by_domain(read(curate(tmp_path / "d", str(tmp_path / "pool.tar"))).rows)
    assert (len(found.lines), found.total) == (30, 33)
    assert (found.rest.name, found.rest.pool, found.rest.kept) == ("3 others", 3, 3)


def test_keys_may_hold_the_signs_that_part_a_reference(tmp_path):
    names = ("a#b@7", "c#@", "d@0 from e#f@1")
    write_tar(tmp_path / "p#@.tar", [(name, photo(1), "a word") for name in names])
    curation = read(curate(tmp_path / "d", str(tmp_path / "p#@.tar")))
    (kind,) = copies(curation.rows)
    (group,) = kind.groups
    assert {group.keeper, *group.copies} == {0, 1, 2}
    shown = rows_at(curation.pool, [group.keeper, *group.copies])
    assert {row.key for row in shown.values()} == set(names)


def test_a_hostile_caption_and_key_are_shown_as_text(tmp_path):
    caption = "<script>alert(1)</script>\x00\u202e \"'><img src=x onerror=alert(2)>"
    samples = [
        ("k'\"><script>bad()<", photo(1), caption),
        ("{{ 7 * 7 }}", photo(2), "{% raw %}"),
    ]
    write_tar(tmp_path / "pool.tar", samples)
    html = page.render(curate(tmp_path / "d", str(tmp_path / "pool.tar")).url).decode()
    found = Elements(html)
    assert "script" not in {tag for tag, _ in found.elements}
    assert not [name for _, given in found.elements for name in given if name.startswith("on")]
    assert "<script>alert(1)</script> \"'><img src=x onerror=alert(2)>" in found.text
    assert "{% raw %}" in found.text
    assert "\x00" not in html
    assert "\u202e" not in html


def test_the_page_loads_nothing_from_elsewhere(html):
    found = Elements(html).elements
    links = [
        given[name] for _, given in found for name in ("src", "href", "xlink:href") if name in given
    ]
    assert links
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "script" not in {tag for tag, _ in found}
    assert "default-src 'none'" in html
    assert "@import" not in html


def test_the_same_inputs_give_the_same_bytes_wherever_they_are_written(
    scored, run_folder, html, tmp_path
):
    url = report.run(scored.dataset, str(run_folder), str(tmp_path / "sub" / "page.html"))
    assert url == f"file://{tmp_path}/sub/page.html"
    again = (tmp_path / "sub" / "page.html").read_bytes()
    assert hashlib.sha256(again).digest() == hashlib.sha256(html.encode()).digest()


def test_a_source_that_is_gone_or_changed_is_a_tile_that_says_so(tmp_path):
    for name in ("gone", "changed"):
        write_tar(tmp_path / f"{name}.tar", [(name, photo(len(name)), f"once {name}")])
    snapshot = curate(tmp_path / "d", str(tmp_path / "*.tar"))
    (tmp_path / "gone.tar").unlink()
    write_tar(tmp_path / "changed.tar", [("changed", photo(99), "another")])
    text = Elements(page.render(snapshot.url).decode()).text
    assert "source is gone" in text
    assert "source changed" in text
    assert "once gone" in text
    assert "2 of 2 pictures can no longer be had" in text


def test_unreadable_rows_are_listed_with_their_reason(scored, html):
    bad = [row for row in all_rows(read(scored)) if row.reason == "unreadable"]
    listed = Elements(html[html.index('id="unreadable-files"') :]).text
    assert len(bad) == scored.counts["unreadable"]
    for row in bad:
        assert row.key in listed
        assert row.detail.partition(": ")[2] in listed
    assert "The rest of the archive is lost" in listed


def test_a_run_is_shown_with_what_it_drew_its_losses_and_its_pictures(html):
    section = html[html.index('id="training"') :]
    text = " ".join(Elements(section).text.split())
    assert "web (this snapshot) 75.0% 75.0% 60" in text
    assert "other 25.0% 25.0% 20" in text
    assert "after 20 steps" in text
    assert section.count('src="data:image/png') == 2  # the first and the last
    assert "80, of which 3 stood in for a damaged one" in text
    assert "b7" in text
    assert "2.00 → 0.60" in Elements(html).text


def test_a_run_that_counted_damage_without_its_kinds_still_tells_how_much(scored, tmp_path):
    folder = write_run(tmp_path / "run", scored)
    log = folder / "metrics.jsonl"
    log.write_text(log.read_text().replace(f'"bad": {json.dumps(BAD)}', '"replaced": 5'))
    assert training.read_run(str(folder)).replaced == 5


def test_losses_that_were_not_finite_are_left_out_of_the_curves(scored, tmp_path):
    folder = write_run(tmp_path / "run", scored)
    log = folder / "metrics.jsonl"
    text = log.read_text().replace('"loss": 0.9', '"loss": null').replace("0.6", "null")
    log.write_text(text.replace("2.1", "null").replace("0.5", "null"))
    run = training.read_run(str(folder))
    assert run.losses == ((20, 0.7),)
    assert run.validation == {"causal": ((0, 2.0),)}
    assert "2.00 → 2.00" in Elements(page.render(scored.url, str(folder)).decode()).text


def test_the_fields_of_a_newer_log_do_not_disturb(scored, tmp_path):
    folder = write_run(tmp_path / "run", scored)
    before, log = training.read_run(str(folder)), folder / "metrics.jsonl"
    newer = '"mfu": 0.5, "slow": {"rank": 1}, "loss"'
    text = log.read_text().replace('"loss"', newer)
    log.write_text(text.replace('"validation"', '"curve": [2.0, 1.0], "validation"'))
    assert training.read_run(str(folder)) == before


def test_without_a_run_there_is_no_word_of_training(scored):
    html = page.render(scored.url).decode()
    assert 'id="training"' not in html
    assert "#training" not in html


def test_a_run_that_learnt_from_other_data_is_not_passed_off_as_one_of_this(scored, tmp_path):
    write_tar(tmp_path / "pool.tar", [("a", photo(1), "word")])
    other = curate(tmp_path / "d", str(tmp_path / "pool.tar"))
    text = Elements(page.render(other.url, str(write_run(tmp_path / "run", scored))).decode()).text
    assert "was not trained on this snapshot" in text
    assert "then trained on them" not in text


def test_a_run_whose_mixture_is_gone_still_shows_what_was_drawn(scored, tmp_path):
    folder = write_run(tmp_path / "run", scored)
    (folder / "mixture.json").unlink()
    text = Elements(page.render(scored.url, str(folder)).decode()).text
    assert "the mixture cannot be read" in text
    assert "75.0%" in text


def test_a_filters_run_has_no_planned_shares_and_is_shown_with_what_it_drew(scored, tmp_path):
    folder = write_run(tmp_path / "run", scored)
    (folder / "config.json").write_text(json.dumps({"pairs": "data/trusted", "steps": 20}))
    log = folder / "metrics.jsonl"
    log.write_text(log.read_text().replace('"causal"', '"auc"'))
    text = Elements(page.render(scored.url, str(folder)).decode()).text
    assert "it is not trained on a mixture" in text
    assert "75.0%" in text


@pytest.mark.parametrize("broken", ["missing", "no config", "no metrics", "bad line", "a list"])
def test_a_folder_that_is_no_run_is_an_error_that_names_it(scored, tmp_path, broken):
    folder = tmp_path / "not-a-run"
    if broken != "missing":
        write_run(folder, scored)
    if broken == "no config":
        (folder / "config.json").unlink()
    if broken == "no metrics":
        (folder / "metrics.jsonl").unlink()
    if broken == "bad line":
        (folder / "metrics.jsonl").write_text("{step\n")
    if broken == "a list":
        (folder / "config.json").write_text("[]")
    with pytest.raises(HeadraceError, match="not-a-run"):
        report.run(scored.url, str(folder), str(tmp_path / "page.html"))
    assert not (tmp_path / "page.html").exists()


def test_a_plan_that_is_not_the_manifests_is_refused(tmp_path):
    write_tar(tmp_path / "pool.tar", [(f"{n}", photo(n), "word") for n in range(3)])
    snapshot = curate(tmp_path / "d", str(tmp_path / "pool.tar"))
    plan.write_part(snapshot.url, 0, plan.read_part(snapshot.url, 0).slice(1))
    with pytest.raises(HeadraceError, match=r"plan and ledger name different images"):
        page.render(snapshot.url)
    (tmp_path / "d" / "snapshots" / snapshot.id / "plan" / "00000000.parquet").unlink()
    with pytest.raises(HeadraceError, match=r"plan/00000000\.parquet"):
        page.render(snapshot.url)
