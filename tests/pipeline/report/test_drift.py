"""The page of the drift gates: complete, harmless, and the same each time."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.assess import binned
from pipeline.assess.drift import NOTHING, Figures, GatesConfig, compare
from pipeline.report import drift

HOSTILE = "<script>alert(1)</script>\u202e[bold]$x$"
NAMES = ("parent 0123456789abcdef", "new images")


def side(key: int, shift: float = 0, score: str = HOSTILE) -> Figures:
    """Figures of 2,000 images."""
    random = np.random.default_rng(key)
    spreads = {
        "shorter_side": binned.count(random.lognormal(6, 0.5, 2000).round()),
        "image_bytes": binned.count(random.lognormal(11, 1, 2000).round()),
        score: binned.count(random.normal(0.25 + shift, 0.05, 2000)),
    }
    return Figures(Counter({"kept": 1200, "low_score": 790, "unreadable": 10}), spreads)


def page(before: Figures, after: Figures, **bands) -> str:
    findings = compare(before, after, GatesConfig(**bands))
    return drift.render(findings, before, after, NAMES).decode()


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += f" {data}"


def test_a_hostile_name_is_text_and_nothing_runs_or_loads():
    text = page(side(1), side(2))
    tags = Tags(text)
    assert not {"script", "img", "link", "iframe", "object"} & set(tags.names)
    assert not [name for name in tags.attributes if name.startswith("on") or name == "src"]
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text


def test_the_page_shows_both_sides_and_says_what_is_out():
    before, after = side(1, score="clip_score"), side(2, shift=0.06, score="clip_score")
    text = " ".join(Tags(page(before, after)).text.split())
    assert "One figure is out of its band" in text
    medians = [f"{binned.quantile(s.spreads['clip_score'], 0.5):.3g}" for s in (before, after)]
    distance = binned.distance(before.spreads["clip_score"], after.spreads["clip_score"])
    assert f"clip score {' '.join(medians)} {distance:.3f} 0.200 out" in text
    assert "keep rate 60.0% 60.0% 0.000 0.100 inside" in text
    assert "Unreadable 10 0.5% 10 0.5%" in text
    assert text.count("parent 0123456789abcdef") == 2 + 1 + 3  # tables, head, a legend a chart
    assert "No figure is out" in page(before, after, scores=None)


def test_the_same_figures_give_the_same_bytes():
    assert page(side(1), side(2)) == page(side(1), side(2))
    assert page(side(1), side(2)) != page(side(1), side(3))


@pytest.mark.parametrize("values", [np.full(2000, 64.0), np.zeros(2000), np.full(2000, np.nan)])
def test_columns_of_one_value_or_none_are_drawn_or_said_to_be_missing(values):
    spreads = {name: binned.count(values) for name in ("shorter_side", "image_bytes", "score")}
    one = Figures(Counter({"kept": 2000}), spreads)
    text = page(one, one)
    assert text.count("<svg") == (0 if np.isnan(values).all() else 3)
    assert text.count("No image has one") == 3 - text.count("<svg")
    assert "nan" not in Tags(text).text


def test_a_side_without_images_is_shown_with_dashes():
    text = Tags(page(side(1), NOTHING)).text
    assert "too few images" in text
    assert "nan" not in text


def test_every_image_is_in_a_bar_and_bars_reach_from_tail_to_tail():
    spreads = [side(1).spreads["image_bytes"], side(2).spreads["image_bytes"]]
    for logarithmic in (True, False):
        edges = drift.edges_of(spreads, logarithmic)
        assert len(edges) == drift.BARS + 1
        assert (np.diff(edges) > 0).all()
        assert [binned.bars(s, edges).sum() for s in spreads] == pytest.approx([1, 1])


def test_lines_say_figure_sides_distance_band_and_verdict():
    before, after = side(1, score="clip_score"), side(2, shift=0.06, score="clip_score")
    told = drift.lines(compare(before, after, GatesConfig(image_bytes=None)))
    assert told[0].split() == ["parent", "new", "distance", "allowed"]
    words = {line.split()[0]: line.split()[1:] for line in told[1:]}
    assert words["keep_rate"] == ["60.0%", "60.0%", "0.000", "0.100", "inside"]
    assert words["clip_score"][-2:] == ["0.200", "out"]
    assert words["image_bytes"][-3:] == ["-", "not", "gated"]
    assert len(told) == 7
