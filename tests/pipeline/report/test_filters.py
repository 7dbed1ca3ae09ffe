"""The page of an evaluation: complete, harmless, and the same each time."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from jobs.judging.figures import judge
from jobs.judging.reading import Account, Pairs, Pool
from pipeline.report import filters

HOSTILE = "<script>alert(1)</script>\u202e[bold]$x$"


def unit(rows: int, key: int) -> np.ndarray:
    drawn = np.random.Generator(np.random.Philox(key)).normal(size=(rows, 8))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def figures() -> dict:
    """Two filters, one of which knows everything; names as bad as they come."""
    names, rows = ("good", HOSTILE), 40
    images = {name: unit(rows, 1) for name in names}
    captions = {"good": images["good"], HOSTILE: unit(rows, 2)}
    texts = [f"caption {row}" for row in range(rows)]
    trusted = Pairs(Account(given=rows, judged=rows), texts, images, captions)
    foreign = {name: unit(10, 3) for name in names}
    off_topic = Pairs(Account(given=10, judged=10), [""] * 10, foreign, foreign)
    scores = {name: unit(rows, key)[:, 0] for key, name in enumerate(names)}
    pool = Pool(f"file:///{HOSTILE}", Account(given=rows, judged=rows), scores)
    rates = {"shuffled": 0.3, "off_topic": 0.2}
    found = judge(trusted, off_topic, [pool], rates, (0.1, 0.5), 0)
    config = {"filters": {name: {"model": HOSTILE, "pretrained": None} for name in names}}
    return {"config": config, "digests": {"filters": dict.fromkeys(names, "0" * 64)}} | found


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_hostile_names_are_text_and_nothing_runs_or_loads(figures):
    page = filters.render(figures).decode()
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(tags.names)
    assert not [name for name in tags.attributes if name.startswith("on") or name == "src"]
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


def test_the_same_figures_give_the_same_page_also_from_json(figures):
    page = filters.render(figures)
    assert filters.render(json.loads(json.dumps(figures))) == page


def test_the_page_shows_the_figures(figures):
    page = filters.render(figures).decode()
    for name in ("good", HOSTILE):
        assert filters.interval(figures["filters"][name]["auc"]) in page
    assert figures["ranking"]["accuracy"]["good"] == 1
    assert figures["noise"]["rows_of_kind"] == {"clean": 20, "shuffled": 12, "off_topic": 8}
    assert figures["filters"]["good"]["top_clean_share"]["precision"]["value"] == 1
    assert "20 left as they are, 12 with the caption of another" in page


def test_a_page_without_pools_noise_or_a_second_filter_is_whole():
    images = unit(4, 1)
    account = Account(given=4, judged=4)
    trusted = Pairs(account, list("abcd"), {"one": images}, {"one": images})
    nothing = Pairs(Account(), [], {"one": images[:0]}, {"one": images[:0]})
    rates = {"shuffled": 0.0, "off_topic": 0.0}
    found = judge(trusted, nothing, [], rates, (0.1, 0.5), 0)
    assert found["ranking"] is None
    assert found["filters"]["one"]["top_clean_share"] is None
    config = {"filters": {"one": {"model": "m", "pretrained": None}}}
    page = filters.render({"config": config, "digests": {"filters": {"one": "0"}}} | found).decode()
    assert page.rstrip().endswith("</html>")
    assert "4 held-out pairs" in page
