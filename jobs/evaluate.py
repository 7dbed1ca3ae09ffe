"""`headrace filter evaluate`: does a filter know what fits together, and does it find noise?

    <evaluation>/ledger/            what each filter makes of each image and caption
    <evaluation>/evaluation.json    every figure
    <evaluation>/filters.html       the same as a page

The ledger is a dataset's: what is in it is not measured again, so a further filter costs only its
own scores.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jobs import cluster, facts, scores
from jobs.config import CurateConfig
from jobs.console import console
from jobs.judging import card, reading
from jobs.judging.config import EvaluateConfig
from jobs.judging.figures import judge
from jobs.judging.reading import Ledger
from jobs.record import recording
from pipeline import ledger
from pipeline.clip import names
from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.measure import image
from pipeline.measure.clip import ClipConfig, PairsConfig, fingerprint
from pipeline.pool.sample import Part
from pipeline.pool.source import parts as parts_of
from pipeline.report import filters as page


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation."""

    url: str
    """Of evaluation.json."""
    page: str
    """Of filters.html."""
    figures: dict[str, Any]
    """What is in evaluation.json; see docs/filter-evaluation.md."""


@dataclass(frozen=True)
class _Inputs:
    trusted: list[Part]
    off_topic: list[Part]
    pools: list[Part]
    digests: dict[str, str]
    """Filter → digest of its weights."""
    ledger: Ledger


@dataclass(frozen=True)
class _Todo:
    """What the ledger lacks of one family."""

    what: str
    family: str
    model: scores.Model | None
    """None for the images themselves."""
    mark: str
    parts: list[Part]


def run(config: EvaluateConfig, workers: int | None = None) -> Evaluation:
    """Measures what is not measured yet, judges, and writes evaluation.json and filters.html.

    The same inputs give the same bytes; a killed run is resumed by running it again. Raises
    HeadraceError if a filter or a source cannot be had, or too few pairs are left to judge.
    """
    found = _inputs(config)
    with recording("evaluate", config.url, config) as record:
        with record.stage("measure"):
            _measure(config, found, workers)
        console.print("evaluate: judging")
        with record.stage("judge"):
            return _publish(config, _figures(config, found))


def _publish(config: EvaluateConfig, figures: dict[str, Any]) -> Evaluation:
    url, shown = (address.join(config.url, name) for name in ("evaluation.json", "filters.html"))
    writing.publish(shown, page.render(figures))
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    writing.publish(url, text.encode("utf-8", "replace") + b"\n")
    return Evaluation(url, shown, figures)


def dry_run(config: EvaluateConfig) -> None:
    """Says what a run would measure. Lists and fingerprints; reads no image, writes nothing."""
    found = _inputs(config)
    console.print(f"evaluation  {config.url}", markup=False, soft_wrap=True)
    for what, parts in (("trusted", found.trusted), ("off topic", found.off_topic)):
        console.print(f"{what:11} {len(parts)} parts")
    console.print(f"{'pools':11} {len(found.pools)} parts")
    for one in _todo(config, found):
        console.print(f"measure     {one.what}: {len(one.parts)} parts to do", markup=False)
    console.print("the figures follow from what is measured; nothing was written")


def _inputs(config: EvaluateConfig) -> _Inputs:
    trusted, off_topic, pools = map(parts_of, (config.trusted, config.off_topic, config.pools))
    both = {part.name for part in trusted} & {part.name for part in off_topic}
    if both:
        source = next(part.source for part in trusted if part.name in both)
        raise HeadraceError(f"off_topic: {source} is under trusted, too; its images fit there")
    digests = {
        name: names.digest(one.model, one.pretrained, f"filters.{name}.model")
        for name, one in config.filters.items()
    }
    images = image.ImageConfig()
    pairs = {name: fingerprint(_pairs(one), images) for name, one in config.filters.items()}
    clip = {name: fingerprint(one, images) for name, one in config.filters.items()}
    marks = Ledger(config.url, image.fingerprint(images), pairs, clip)
    return _Inputs(trusted, off_topic, pools, digests, marks)


def _pairs(config: ClipConfig) -> PairsConfig:
    return PairsConfig.model_validate(config.model_dump())


def _todo(config: EvaluateConfig, found: _Inputs) -> Iterator[_Todo]:
    """Each looks into the ledger when its turn comes: two names of one filter are one's work."""
    marks = found.ledger
    pairs = [*found.trusted, *found.off_topic]
    every = list({part.name: part for part in [*pairs, *found.pools]}.values())

    def lacks(what: str, family: str, model: Any, mark: str, parts: list[Part]) -> _Todo:
        missing = ledger.missing(marks.url, family, mark, parts)
        return _Todo(what, family, model, mark, missing)

    yield lacks("images", "image", None, marks.image, every)
    for name, one in config.filters.items():
        yield lacks(f"pairs by {name}", "pairs", _pairs(one), marks.pairs[name], pairs)
        yield lacks(f"pools by {name}", "clip", one, marks.clip[name], found.pools)


def _measure(config: EvaluateConfig, found: _Inputs, workers: int | None) -> None:
    writing.sweep(config.url)
    if not any(one.parts for one in _todo(config, found)):
        console.print("evaluate: everything is measured")
        return
    # The pipeline's own measurement, of a dataset that nobody decides.
    sources = (*config.trusted, *config.off_topic, *config.pools)
    dataset = CurateConfig(dataset=config.evaluation, sources=sources)
    images = found.ledger.image
    with cluster.session(workers):
        for one in _todo(config, found):
            console.print(f"evaluate: {one.what}: {len(one.parts)} parts to do", markup=False)
            if one.model is None:
                facts.measure(dataset, one.parts, images)
            else:
                marks = {"image": images, one.family: one.mark}
                scores.measure(dataset, one.family, one.model, one.parts, marks)


def _figures(config: EvaluateConfig, found: _Inputs) -> dict[str, Any]:
    marks, most, seed = found.ledger, config.most_pairs, config.seed
    trusted = reading.pairs(marks, found.trusted, most, seed, "trusted")
    if len(trusted.texts) < 2:
        raise HeadraceError(
            f"trusted: {trusted.account.sentence}; at least 2 are needed: name more"
        )
    off_topic = reading.pairs(marks, found.off_topic, most, seed, "off_topic")
    needed = math.floor(config.off_topic_rate * len(trusted.texts))
    if needed and not len(off_topic.texts):
        raise HeadraceError(
            f"off_topic: {off_topic.account.sentence}; name images that can be read"
        )
    pools = [reading.pool(marks, one.url, parts_of((one,))) for one in config.pools]
    rates = {"shuffled": config.noise.shuffled, "off_topic": config.off_topic_rate}
    return {
        "config": config.model_dump(mode="json", exclude={"evaluation"}),
        "digests": {
            "filters": found.digests,
            "trusted": reading.digest(found.trusted),
            "off_topic": reading.digest(found.off_topic),
            "pools": reading.digest(found.pools),
        },
        **judge(trusted, off_topic, pools, rates, config.fractions, seed),
    }


def show(found: Evaluation) -> None:
    """Prints the accounts and the figures as tables."""
    for one in card.tables(found.figures):
        console.print(one, soft_wrap=isinstance(one, str))
