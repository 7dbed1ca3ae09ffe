"""The page of a run: what it learnt, what was found of it, and where its images come from."""

import base64
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jobs import report
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.snapshot import Snapshot
from pipeline.report import curves, evaluations, figures, folder, lineage
from pipeline.report import run as page
from tests.pipeline.report.curated import curate
from tests.pipeline.report.results import FIGURES, write_results, write_table
from tests.trainer import runs
from tests.trainer.runs import MODEL

HOSTILE = "<script>alert(1)</script>\u202e\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
ROOF = 600_000
"""Bytes of the page of a run, its two grids included, whatever was logged of it."""


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text outside of charts."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html.decode())
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += f" {data}"


def words(html: bytes) -> str:
    return Elements(html).words


@pytest.fixture(scope="module")
def web(tmp_path_factory, demo_data) -> Snapshot:
    return curate(tmp_path_factory.mktemp("web"), str(demo_data / "pool" / "0000000{4..5}.tar"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, web) -> Path:
    """The folder of a real run of 8 steps; read only."""
    folder = tmp_path_factory.mktemp("trained")
    mixed = Mixture((Source("web", web.url, 1, web.samples),))
    (folder / "mixture.json").write_bytes(mixture_bytes(mixed))
    stream = {"batch": 16, "lanes": 4, "image_size": 32}
    config = {"run": str(folder / "run"), "mixture": str(folder / "mixture.json"), "model": MODEL}
    config |= {"stream": stream, "validation": web.url, "steps": 8, "log_every": 2, "threads": 1}
    return runs.train(config | {"validate_every": 4, "checkpoint_every": 4})


@pytest.fixture
def whole(trained, tmp_path) -> Path:
    """A copy of it that a test may change; it lies elsewhere than it was trained."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def run(whole) -> Path:
    """The same without a figure in its log: drawing curves is what takes long."""
    lines = folder.read_log(whole.as_uri())
    told = (
        {name: line[name] for name in ("step", "drawn", "digest")}
        for line in lines
        if "loss" in line
    )
    (whole / "metrics.jsonl").write_text(
        "".join(json.dumps(one | {"loss": None}) + "\n" for one in told)
    )
    return whole


def change(file: Path, how: Callable[[dict], dict]) -> None:
    file.write_text(json.dumps(how(json.loads(file.read_text()))))


def test_a_run_is_shown_with_its_curves_its_pictures_and_what_it_was_fed(trained):
    html = page.render(str(trained))
    text = words(html)
    assert "A pre-training, 8 steps" in text
    for title in ("Loss", "Loss along the sequence", "Learning rate", "Gradient norm", "Speed"):
        assert f"<h3>{title}</h3>" in html.decode()
    assert "validation, causal" in text
    assert "web 100.0% 100.0% 128" in text
    assert "before training" in text
    assert "after 8 steps" in text
    assert (
        sum(given.get("src", "")[:11] == "data:image/" for _, given in Elements(html).elements) == 2
    )


def test_its_curves_are_those_of_the_log(trained):
    lines = folder.read_log(trained.as_uri())
    charts = {chart.title: chart for chart in curves.charts(lines)}
    logged = [line for line in lines if "loss" in line]
    assert charts["Gradient norm"].curves["grad_norm"] == tuple(
        (line["step"], line["grad_norm"]) for line in logged
    )
    assert [step for step, _ in charts["Loss"].curves["validation, prefix"]] == [0, 4, 8]
    along = charts["Loss along the sequence"].curves
    assert list(along) == ["after 0 steps", "after 4 steps", "after 8 steps"]
    assert [loss for _, loss in along["after 8 steps"]] == lines[-1]["curve"]


def test_a_long_log_is_thinned_to_means_of_neighbours():
    points = [(step, float(step % 2)) for step in range(20_000)]
    thinned = curves.thinned(points)
    assert len(thinned) == curves.POINTS
    assert {y for _, y in thinned} == {0.5}
    assert thinned[0][0] == 9.5
    assert curves.thinned(points[:7]) == tuple(points[:7])


def test_the_lineage_goes_from_the_checkpoint_back_to_the_images(run, web):
    text = words(page.render(str(run)))
    state = json.loads((run / "checkpoints" / "00000008" / "COMPLETE").read_text())
    origin = json.loads((run / "origin.json").read_text())
    assert f"8 complete {state['delivered']['digest']}" in text
    assert f"digest {state['delivered']['digest']} equal for two runs" in text
    assert f"torch {origin['torch']}" in text
    assert f"kept {web.counts['kept']:,}" in text
    assert f"verdicts sha256 {web.plan_sha256}" in text
    assert f"pool {sum(web.counts.values()):,} images in 2 parts" in text
    assert "0000000{4..5}.tar" in text
    assert "none: the first of its chain" in text
    dataset = web.dataset.removeprefix("file://")
    assert f"headrace why {dataset} KEY" in text
    assert f"headrace report {dataset}/snapshots/{web.id}" in text
    assert f"headrace stream verify {run} OTHER_RUN" in text


def test_every_kind_of_evaluation_is_shown_with_its_intervals(run):
    for kind in FIGURES:
        write_results(run / "evaluations" / kind, kind, str(run))
    text = words(page.render(str(run)))
    for title in figures.TITLES.values():
        assert f"{title} after 8 steps" in text
    assert "attentive 78.4% (77.1% to 79.6%) 95.1%" in text
    assert "0.005 0.1 6, 11 500 392 480 0.7" in text  # a cell of the grid
    assert "so too high" in text  # the linear probe was chosen on the test set
    assert "5,898,240 632,000,000" in text
    assert "20 78.4% (77.1% to 79.6%) -" in text  # a figure that is missing
    assert "causal 0.4321 (0.771 to 0.796)" in text
    assert "patch, in the order they are read" in text
    assert "Not of this run" not in text


def test_results_of_another_run_are_marked_and_so_are_those_of_a_copy(run, trained, tmp_path):
    state = json.loads((run / "checkpoints" / "00000008" / "COMPLETE").read_text())
    other = write_results(tmp_path / "other", "knn", str(tmp_path / "run-2"))
    text = words(page.render(str(run), [str(other)]))
    assert f"Not of this run: its weights are {tmp_path}/run-2" in text
    assert f"step 8: {tmp_path}/other" not in text
    told = {"digest": state["delivered"]["digest"]}
    copied = write_results(tmp_path / "copied", "knn", str(trained), **told)
    text = words(page.render(str(run), [str(copied)]))
    assert "Not of this run" not in text
    assert "fed the very same images: of a copy of this run, or of one like it" in text
    assert f"its weights are {trained}" in text


def test_results_of_an_export_are_the_runs_if_its_settings_and_digest_are(run, tmp_path):
    state = json.loads((run / "checkpoints" / "00000008" / "COMPLETE").read_text())
    config = json.loads((run / "config.json").read_text())
    settings = {name: config[name] for name in ("seed", "objective", "optimiser")}
    record = {"step": 8, "digest": state["delivered"]["digest"]} | settings
    weights = tmp_path / "weights"
    weights.mkdir()
    files = {"backbone.safetensors": {"sha256": "ef" * 32, "nbytes": 9}}
    (weights / "config.json").write_text(json.dumps({"files": files, "training": record}))
    knn = write_results(tmp_path / "knn", "knn", None, weights=str(weights))
    text = words(page.render(str(run), [str(knn)]))
    assert "Not of this run" not in text
    assert f"export {weights} , step 8" in text
    assert f"sha256 {'ef' * 32}" in text
    sibling = {"files": files, "training": record | {"seed": 1}}  # of a sweep, fed the same
    (weights / "config.json").write_text(json.dumps(sibling))
    assert "Not of this run" in words(page.render(str(run), [str(knn)]))


def test_a_probes_own_run_shows_what_it_found_as_its_own(run, tmp_path):
    write_results(run, "probe", str(tmp_path / "probed"))
    text = words(page.render(str(run)))
    assert "attentive 78.4%" in text
    assert "Not of this run" not in text


def test_tables_are_shown_with_their_notes(run, tmp_path):
    write_table(run / "evaluations" / "bench", "Benchmark")
    sweep = write_table(tmp_path / "sweep", "Sweep")
    text = words(page.render(str(run), [str(sweep)]))
    shown = "attentive what | how web 78.4 (77.1 to 79.6) one mix failed - Means over seeds"
    assert f"Sweep {shown}, with intervals. mix: failed Direction web wins Another a b x 1" in text
    assert f"Benchmark {shown}" in text
    assert text.index("Sweep att") < text.index("Benchmark att")  # what is named comes first


def test_the_curves_of_a_sweep_are_an_image_whatever_is_in_the_file(run, tmp_path):
    sweep = write_table(tmp_path / "sweep")
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg'>{HOSTILE}</svg>".encode()
    (sweep / "curves.svg").write_bytes(drawing)
    html = page.render(str(run), [str(sweep)])
    sources = [told.get("src") or "" for tag, told in Elements(html).elements if tag == "img"]
    assert f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}" in sources
    assert b"<script" not in html
    (sweep / "curves.svg").write_bytes(drawing + b" " * evaluations.LARGEST_SVG)
    assert b"image/svg+xml" not in page.render(str(run), [str(sweep)])


def test_figures_of_a_table_stand_on_the_right(run, tmp_path):
    html = page.render(str(run), [str(write_table(tmp_path / "sweep"))]).decode()
    assert '<th class="number">attentive</th><th>what | how</th>' in html
    assert '<td class="number">failed</td><td>-</td>' in html


def test_the_same_inputs_give_the_same_bytes_wherever_they_are_written(whole, tmp_path):
    for kind in FIGURES:
        write_results(whole / "evaluations" / kind, kind, str(whole))
    once = report.run(str(whole), None, str(tmp_path / "a" / "page.html"))
    again = report.run(str(whole), None, str(tmp_path / "b.html"))
    data = [Path(url.removeprefix("file://")).read_bytes() for url in (once, again)]
    assert data[0] == data[1]
    assert len(data[0]) > 10_000


def test_hostile_words_are_shown_as_text(whole):
    write_results(whole / "evaluations" / "a", "knn", HOSTILE)
    write_results(whole / "evaluations" / "b", "probe", HOSTILE, step=HOSTILE, sha256=HOSTILE)
    change(whole / "evaluations" / "b" / "results.json", lambda v: v | {"kind": HOSTILE})
    write_table(whole / "evaluations" / HOSTILE.replace("/", ""), HOSTILE, HOSTILE, HOSTILE)
    change(
        whole / "origin.json",
        lambda v: v | {"commit": HOSTILE, "sources": {HOSTILE: {"url": HOSTILE}}},
    )
    change(whole / "config.json", lambda v: v | {"model": HOSTILE, "extra": HOSTILE})
    log = whole / "metrics.jsonl"
    log.write_text(
        log.read_text()
        .replace('"web"', json.dumps(HOSTILE))
        .replace('"fetch"', json.dumps(HOSTILE))
    )
    html = page.render(str(whole))
    found = Elements(html)
    assert "script" not in {tag for tag, _ in found.elements}
    assert not [name for _, given in found.elements for name in given if name.startswith("on")]
    assert "{{ 7 * 7 }}" in found.words
    assert "\u202e".encode() not in html
    links = [
        given[n] for _, given in found.elements for n in ("src", "href", "xlink:href") if n in given
    ]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert b"default-src 'none'" in html


def test_what_is_gone_is_told_and_the_rest_is_shown(run, trained, web):
    (run / "checkpoints" / "00000004" / "COMPLETE").unlink()
    change(run / "config.json", lambda v: v | {"mixture": str(run / "gone.json")})
    gone = "file:///nowhere/snapshots/00ff"
    change(run / "origin.json", lambda v: {"commit": None, "sources": {"web": {"url": gone}}})
    (run / "evaluations" / "half").mkdir(parents=True)
    write_results(run / "evaluations" / "bad", "knn", str(run)).joinpath("results.json").write_text(
        "["
    )
    text = words(page.render(str(run)))
    assert "the mixture cannot be read any more" in text
    assert "/nowhere/snapshots/00ff/manifest.json" in text
    assert "commit not known" in text
    assert "cut short: never loaded" in text
    assert "half: no results.json in it" in text
    assert "bad/results.json: not written by headrace" in text


def test_a_run_that_has_only_begun_has_a_page(run):
    (run / "metrics.jsonl").write_text("")
    for name in ("origin.json", "pictures", "checkpoints"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = words(page.render(str(run)))
    assert "Its log has no line of a step yet." in text
    assert "There are none in" in text
    assert "origin.json" in text


def test_a_mixture_that_was_written_anew_is_told_and_what_the_run_had_is_shown(run, web):
    moved = Source("web", f"{web.dataset}/snapshots/00ff", 1, web.samples)
    (run / "mixture.json").write_bytes(mixture_bytes(Mixture((moved,))))
    change(run / "config.json", lambda v: v | {"mixture": str(run / "mixture.json")})
    told = lineage.read(run.as_uri(), folder.read_config(run.as_uri()), [], [])
    assert "names other data now" in " ".join(told.troubles)
    assert [one.url for one in told.sources] == [web.url]


def test_a_filters_run_has_a_page(whole):
    pairs = {"pairs": "data/trusted", "model": "ViT-B-32", "steps": 8, "run": str(whole)}
    (whole / "config.json").write_text(json.dumps(pairs))
    log = whole / "metrics.jsonl"
    log.write_text(log.read_text().replace('"causal"', '"auc"').replace('"curve"', '"other"'))
    text = words(page.render(str(whole)))
    assert "A filter's training of ViT-B-32, 8 steps" in text
    assert "Held-out figures" in text
    assert "it is not trained on a mixture" in text
    assert "headrace export" not in text


def test_the_page_stays_small_whatever_was_logged_and_evaluated(whole):
    line = folder.read_log(whole.as_uri())[-2]
    assert "loss" in line
    with (whole / "metrics.jsonl").open("a") as log:
        log.writelines(json.dumps(line | {"step": step}) + "\n" for step in range(10, 4_000))
    rows = "\n".join(f"| {'x' * 5000} | {n} | {n} |" for n in range(598))
    write_table(whole / "evaluations" / "long", cell=f"one |\n{rows[:-2]}")
    change(whole / "config.json", lambda v: v | {"classes": ["class"] * 100_000})
    html = page.render(str(whole))
    assert "and 100 more rows" in words(html)
    assert len(html) < ROOF


@pytest.mark.parametrize(
    ("text", "says"),
    [("# A title\n", "no table below"), ("# T\n| a |\n| --- |\n| 1 | 2 |\n", "differ in length")],
)
def test_a_named_table_of_another_shape_is_an_error_that_names_it(run, tmp_path, text, says):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "table.md").write_text(text)
    with pytest.raises(HeadraceError, match=rf"odd/table\.md.*{says}"):
        page.render(str(run), [str(tmp_path / "odd")])


def test_a_named_folder_without_results_is_an_error(run, tmp_path):
    with pytest.raises(HeadraceError, match=r"neither results\.json nor table\.md"):
        page.render(str(run), [str(tmp_path)])


def test_datasets_and_runs_are_told_apart_by_what_lies_there(run, web, tmp_path):
    out = str(tmp_path / "page.html")
    assert "What was kept of" in words(
        Path(report.run(web.dataset, str(run), out)[7:]).read_bytes()
    )
    assert "A pre-training" in words(Path(report.run(str(run), None, out)[7:]).read_bytes())
    with pytest.raises(
        HeadraceError, match=r"neither a dataset .* nor the folder of a training run"
    ):
        report.run(str(tmp_path), None, out)
    with pytest.raises(HeadraceError, match="--run: goes with a dataset"):
        report.run(str(run), str(run), out)
    with pytest.raises(HeadraceError, match="--evaluation: goes with a run"):
        report.run(web.dataset, None, out, [str(run)])


def test_the_command_takes_evaluations_from_several_folders(run, tmp_path, headrace_here):
    folders = [write_results(tmp_path / kind, kind, str(run)) for kind in ("knn", "lora")]
    named = [word for folder in folders for word in ("--evaluation", folder)]
    done = headrace_here("report", run, *named, "--output", tmp_path / "page.html")
    assert (done.returncode, done.stdout) == (0, f"file://{tmp_path}/page.html\n")
    text = words((tmp_path / "page.html").read_bytes())
    assert "Nearest neighbours" in text
    assert "LoRA" in text
