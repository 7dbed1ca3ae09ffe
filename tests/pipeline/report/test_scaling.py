"""The page of a scaling study: complete, harmless, and the same each time."""

import json
from html.parser import HTMLParser

import pytest

from jobs.scaling.figures import gather
from pipeline.report import scaling
from tests.jobs.scaling.made import made, probed

HOSTILE = "<script>alert(1)</script>\u202e[bold]$x$"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.fixture(scope="module")
def figures() -> dict:
    runs = [
        made(HOSTILE, parameters=10, steps=100, loss=0.5, curve=[0.7, 0.3]),
        made("small, longer", parameters=10, steps=400, loss=0.45),
        made("large", parameters=40, steps=100, loss=0.46),
        made("on the way", parameters=40, steps=400, loss=0.4, finished=False),
    ]
    evaluations = {HOSTILE: [probed(0.4, test=HOSTILE)], "large": [probed(0.6, test=HOSTILE)]}
    return {"config": {"runs": {HOSTILE: {}}}} | gather(runs, evaluations)


def test_hostile_names_are_text_and_nothing_runs_or_loads(figures):
    page = scaling.render(figures).decode()
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(tags.names)
    assert not [name for name in tags.attributes if name.startswith("on") or name == "src"]
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "$x$" in page


def test_the_same_figures_give_the_same_page_also_from_json(figures):
    page = scaling.render(figures)
    assert scaling.render(json.loads(json.dumps(figures))) == page


def test_the_page_shows_the_law_its_points_and_who_is_not_in_it(figures):
    page = scaling.render(figures).decode()
    assert figures["law"]["pure"]
    assert f"b {scaling.bounded(figures['law']['power'])}" in page
    assert page.count("not in the law: ") == 1
    assert page.count("0.400 (0.350 to 0.450)") == 1
    assert page.count("<svg role=") == 4
    assert "$\\mathdefault" not in page


def test_a_page_without_a_law_an_evaluation_or_a_curve_is_whole():
    found = gather([made("one", 10, 100, 0.5)], {})
    page = scaling.render({"config": {}} | found).decode()
    assert page.rstrip().endswith("</html>")
    assert page.count("<svg role=") == 2
    assert "No law: a law needs 3 runs" in page
