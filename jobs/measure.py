"""`headrace measure`: every pool image is read once, and what it is goes to the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from jobs import cluster
from jobs.config import CurateConfig
from jobs.console import console, progress
from pipeline import ledger
from pipeline.format import store
from pipeline.measure import image
from pipeline.measure.clip import ClipConfig
from pipeline.measure.clip import fingerprint as clip_fingerprint
from pipeline.measure.image import ImageConfig
from pipeline.pool.sample import Part
from pipeline.pool.source import parts as parts_of


@dataclass(frozen=True)
class Inputs:
    """What a curation reads: the pool's parts, those it is checked against, and the families."""

    parts: list[Part]
    references: list[Part]
    families: dict[str, str]
    """Measure → fingerprint of the pool's facts; references have the image family alone."""


def inputs(config: CurateConfig) -> Inputs:
    """Lists the sources and fingerprints the models. Reads no image."""
    against = config.decide.decontaminate.against if config.decide.decontaminate else ()
    families = {"image": image.fingerprint(config.measure.image)}
    if config.measure.clip:
        families["clip"] = clip_fingerprint(config.measure.clip, config.measure.image)
    return Inputs(parts_of(config.sources), parts_of(against), families)


def missing(config: CurateConfig, found: Inputs) -> dict[str, list[Part]]:
    """For each measure, the parts that the ledger does not hold yet."""
    wanted = {"image": [*found.parts, *found.references], "clip": found.parts}
    return {
        measure: ledger.missing(config.dataset_url, measure, mark, wanted[measure])
        for measure, mark in found.families.items()
    }


def run(config: CurateConfig, workers: int | None = None) -> Inputs:
    """Measures what is not in the ledger yet; a killed run is resumed by running it again."""
    found = inputs(config)
    todo = missing(config, found)
    store.sweep(config.dataset_url)
    done = len(found.parts) + len(found.references) - len(todo["image"])
    console.print(f"measure: {len(todo['image'])} parts to do, {done} already in the ledger")
    if any(todo.values()):
        with cluster.session(workers):
            _measure_images(config, todo["image"], found.families["image"])
            if config.measure.clip:
                _measure_clip(config, config.measure.clip, todo["clip"], found.families["clip"])
    return found


@ray.remote(max_retries=3)
def _image_task(part: Part, config: ImageConfig, url: str) -> int:
    table = image.measure_part(part, config)
    ledger.write_part(url, table)
    return table.num_rows


def _measure_images(config: CurateConfig, todo: Sequence[Part], mark: str) -> None:
    def submit(part: Part) -> Any:
        url = ledger.part_url(config.dataset_url, "image", mark, part.name)
        return _image_task.remote(part, config.measure.image, url)

    with progress("measure images", len(todo), "parts") as advance:
        for _ in cluster.run(todo, submit, in_flight=2 * cluster.cpus()):
            advance(1)


class _ClipActor:
    def __init__(self, config: ClipConfig, images: ImageConfig) -> None:
        from pipeline.measure.clip_model import ClipScorer  # only actors pay for loading torch

        self.images = images
        self.scorer = ClipScorer(config)

    def score(self, part: Part, url: str) -> int:
        table = self.scorer.score_part(part, self.images)
        ledger.write_part(url, table)
        return table.num_rows


def _measure_clip(config: CurateConfig, clip: ClipConfig, todo: Sequence[Part], mark: str) -> None:
    if not todo:
        return
    on_gpu = clip.device == "cuda"
    room = cluster.gpus() if on_gpu else cluster.cpus() // clip.threads
    needs = {"num_gpus": 1} if on_gpu else {"num_cpus": clip.threads}
    actor: Any = ray.remote(max_restarts=-1, max_task_retries=3)(_ClipActor)
    actors = [
        actor.options(**needs).remote(clip, config.measure.image)
        for _ in range(max(1, min(room, len(todo))))
    ]

    def submit(work: tuple[int, Part]) -> Any:
        number, part = work
        url = ledger.part_url(config.dataset_url, "clip", mark, part.name)
        return actors[number % len(actors)].score.remote(part, url)

    with progress("score images and captions", len(todo), "parts") as advance:
        for _ in cluster.run(enumerate(todo), submit, in_flight=2 * len(actors)):
            advance(1)
    for actor in actors:
        ray.kill(actor)
