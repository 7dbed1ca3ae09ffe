"""The report: what a stranger reads is complete, true, harmless and the same each time."""

import hashlib
import io
import json
import re
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from jobs import report
from pipeline import ledger
from pipeline.decide.cut import CutConfig
from pipeline.decide.duplicates import DuplicatesConfig
from pipeline.decide.layout import WriteConfig
from pipeline.decide.plan import DecideConfig, decide
from pipeline.decide.rules import RulesConfig
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.snapshot import Snapshot, parquet_bytes, snapshot_id
from pipeline.measure.image import ImageConfig, measure_part
from pipeline.pool.source import SourceConfig, parts
from pipeline.report import page
from pipeline.report.curation import as_rows, read_curation
from pipeline.report.duplicates import closeness, groups
from pipeline.report.funnel import funnel
from pipeline.report.scores import scores
from pipeline.write.publish import library_versions, publish
from pipeline.write.shards import WRITE_COLUMNS, write_shard

RULES = RulesConfig(min_side=24, max_aspect=4, min_caption_words=1)
DECIDE = DecideConfig(rules=RULES, duplicates=DuplicatesConfig())
CUT = DECIDE.model_copy(update={"cut": CutConfig(top_fraction=0.5)})
PLACE = ["source", "key", "offset"]


def curate(dataset: Path, pool: str, config: DecideConfig = DECIDE) -> Snapshot:
    """A snapshot made by the pipeline's own functions, without Ray; scores are made up."""
    found = parts((SourceConfig(url=pool),))
    tables = [measured(dataset, part, bool(config.cut)) for part in found]
    rows = pa.concat_tables(tables)
    rows = rows.append_column("generation", pa.array(np.zeros(rows.num_rows, np.int32)))
    plan = decide(rows, rows.slice(0, 0), config, WriteConfig())
    families = {"image": "i", "clip": "c"} if config.cut else {"image": "i"}
    identity = {"decide": config.model_dump(mode="json"), "sources": [{"url": pool}]}
    mark = snapshot_id(identity, plan.sha256, None)
    url = store.absolute(str(dataset))
    kept = plan.table.filter(plan.table["keep"]).select([*PLACE, "shard", "position", "shard_key"])
    kept = kept.join(rows.select(WRITE_COLUMNS), PLACE, join_type="inner").sort_by("position")
    shard = write_shard(url, mark, 0, kept, {part.source: part.format for part in found})
    snapshot = Snapshot(
        url, mark, None, identity, plan.sha256, plan.counts, (shard,), families, library_versions()
    )
    sources = {name: [getattr(part, name) for part in found] for name in ("source", "format")}
    sources["part"] = [part.name for part in found]
    store.publish(store.join(snapshot.url, "plan.parquet"), parquet_bytes(plan.table))
    store.publish(store.join(snapshot.url, "sources.parquet"), parquet_bytes(pa.table(sources)))
    publish(snapshot, None)
    return snapshot


def measured(dataset: Path, part, scored: bool) -> pa.Table:
    """One part's facts, put into the ledger too."""
    image = measure_part(part, ImageConfig())
    ledger.write_part(ledger.part_url(str(dataset), "image", "i", part.name), image)
    if not scored:
        return image
    score = [made_up_score(row) for row in image.to_pylist()]
    clip = pa.table({"clip_score": score, "clip_embedding": [[]] * len(score)}, ledger.CLIP_SCHEMA)
    ledger.write_part(ledger.part_url(str(dataset), "clip", "c", part.name), clip)
    return image.append_column("clip_score", clip["clip_score"])


def made_up_score(row: dict) -> float | None:
    return None if row["error"] else int(row["sha256"][:4], 16) / 65536


def picture(seed: int, side: int = 64) -> bytes:
    """A JPEG of smooth noise, the same for the same seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def write_tar(path: Path, samples: list[tuple[str, bytes, str]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, image, caption in samples:
            for extension, data in (("jpg", image), ("txt", caption.encode())):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_run(folder: Path, snapshot: Snapshot) -> Path:
    """The folder of a run that drew three quarters from the snapshot."""
    sources = (Source("web", snapshot.url, 3, snapshot.samples), Source("other", "file:///o", 1, 9))
    store.publish(str(folder / "mixture.json"), mixture_bytes(Mixture(sources)))
    config = json.dumps({"mixture": str(folder / "mixture.json"), "steps": 20})
    store.publish(str(folder / "config.json"), config.encode())
    lines = [
        {"step": 0, "validation": {"causal": 2.0, "prefix": 2.1}},
        {"step": 10, "loss": 0.9, "drawn": {"other": 10, "web": 30}, "replaced": 0, "digest": "a"},
        {"step": 20, "loss": 0.7, "drawn": {"other": 20, "web": 60}, "replaced": 1, "digest": "b7"},
        {"step": 20, "validation": {"causal": 0.6, "prefix": 0.5}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 30, "lo'
    store.publish(str(folder / "metrics.jsonl"), text.encode())
    for step in (0, 10, 20):
        png = io.BytesIO()
        Image.new("RGB", (8, 4), (step, 0, 0)).save(png, "PNG")
        store.publish(str(folder / "pictures" / f"{step:08d}.png"), png.getvalue())
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
    rows = read_curation(scored.url).rows
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


def test_the_cut_parts_the_rows_it_dropped_from_those_it_let_through(scored):
    rows = read_curation(scored.url).rows
    found = scores(rows)
    (cut,) = found.cuts
    by_reason = [(row.reason, row.score) for row in as_rows(rows) if row.score is not None]
    assert max(score for reason, score in by_reason if reason == "low_score") <= cut
    passed = (None, "exact_duplicate", "near_duplicate")
    assert min(score for reason, score in by_reason if reason in passed) == cut
    assert found.scored == len(by_reason)
    assert found.kept.sum() == scored.counts["kept"]
    assert found.below[found.edges[:-1] >= cut].sum() == 0


def test_a_dataset_without_scores_has_no_score_section(tmp_path):
    write_tar(tmp_path / "pool.tar", [(f"{n}", picture(n), f"number {n}") for n in range(3)])
    html = page.render(curate(tmp_path / "d", str(tmp_path / "pool.tar")).url).decode()
    assert 'id="scores"' not in html
    assert "#scores" not in html
    assert "nan" not in Elements(html).text


def test_every_duplicate_stands_beside_the_keeper_that_its_detail_names(scored):
    rows = read_curation(scored.url).rows
    shown, number = groups(rows)
    assert number >= len(shown) > 0
    for group in shown:
        place = group.keeper.place
        for copy in group.copies:
            assert copy.detail.endswith(f" {place.source}#{place.key}@{place.offset}")
            assert re.fullmatch(r"same bytes|\d+ bits apart", closeness(copy))
    sizes = [group.total for group in shown]
    assert sizes == sorted(sizes, reverse=True)


def test_keys_may_hold_the_signs_that_part_a_reference(tmp_path):
    names = ("a#b@7", "c#@", "d@0 from e#f@1")
    write_tar(tmp_path / "p#@.tar", [(name, picture(1), "a word") for name in names])
    snapshot = curate(tmp_path / "d", str(tmp_path / "p#@.tar"))
    (group,), _ = groups(read_curation(snapshot.url).rows)
    assert {group.keeper.place.key, *(copy.place.key for copy in group.copies)} == set(names)


def test_a_hostile_caption_and_key_are_shown_as_text(tmp_path):
    caption = "<script>alert(1)</script>\x00\u202e \"'><img src=x onerror=alert(2)>"
    samples = [
        ("k'\"><script>bad()<", picture(1), caption),
        ("{{ 7 * 7 }}", picture(2), "{% raw %}"),
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
        write_tar(tmp_path / f"{name}.tar", [(name, picture(len(name)), f"once {name}")])
    snapshot = curate(tmp_path / "d", str(tmp_path / "*.tar"))
    (tmp_path / "gone.tar").unlink()
    write_tar(tmp_path / "changed.tar", [("changed", picture(99), "another")])
    text = Elements(page.render(snapshot.url).decode()).text
    assert "source is gone" in text
    assert "source changed" in text
    assert "once gone" in text
    assert "2 of 2 pictures can no longer be had" in text


def test_unreadable_rows_are_listed_with_their_reason(scored, html):
    bad = [row for row in as_rows(read_curation(scored.url).rows) if row.reason == "unreadable"]
    listed = Elements(html[html.index('id="unreadable-files"') :]).text
    assert len(bad) == scored.counts["unreadable"]
    for row in bad:
        assert row.place.key in listed
        assert row.detail.partition(": ")[2] in listed
    assert "The rest of the archive is lost" in listed


def test_a_run_is_shown_with_what_it_drew_its_losses_and_its_pictures(html):
    section = html[html.index('id="training"') :]
    text = " ".join(Elements(section).text.split())
    assert "web (this snapshot) 75.0% 75.0% 60" in text
    assert "other 25.0% 25.0% 20" in text
    assert "after 20 steps" in text
    assert section.count('src="data:image/png') == 2  # the first and the last
    assert "80, of which 1 stood in for a damaged one" in text
    assert "b7" in text
    assert "2.00 → 0.60" in Elements(html).text


def test_without_a_run_there_is_no_word_of_training(scored):
    html = page.render(scored.url).decode()
    assert 'id="training"' not in html
    assert "#training" not in html


def test_a_run_that_learnt_from_other_data_is_not_passed_off_as_one_of_this(scored, tmp_path):
    write_tar(tmp_path / "pool.tar", [("a", picture(1), "word")])
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


def test_a_plan_that_is_not_the_manifests_is_refused(scored, tmp_path):
    write_tar(tmp_path / "pool.tar", [(f"{n}", picture(n), "word") for n in range(3)])
    snapshot = curate(tmp_path / "d", str(tmp_path / "pool.tar"))
    url = store.join(snapshot.url, "plan.parquet")
    store.publish(url, parquet_bytes(read_curation(snapshot.url).rows.slice(1)))
    with pytest.raises(HeadraceError, match=r"plan\.parquet"):
        page.render(snapshot.url)
