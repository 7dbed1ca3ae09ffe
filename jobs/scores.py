"""Families that a model makes, on Ray: a pool of actors, each holding the loaded model."""

from collections.abc import Sequence
from typing import Any

import ray

from jobs import cluster
from jobs.config import CurateConfig
from jobs.console import console, progress
from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import ClipConfig
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig
from pipeline.measure.models.load import Scorer, load
from pipeline.pool.sample import Part

DEATHS = 3
"""As many actors may die of one part before the job stops and names it. The images in it were
decoded before, so it is the model, its library or the machine that fails."""

Model = ClipConfig | ModelConfig

Try = tuple[Part, int]
"""A part, and how many actors died of it."""


def measure(
    config: CurateConfig,
    family: str,
    model: Model,
    todo: Sequence[Part],
    marks: dict[str, str],
) -> None:
    """Publishes the scores of these parts, whose facts are in the ledger."""
    if not todo:
        return
    actors: dict[int, Any] = {}
    room, needs = _room(family, model)
    actor: Any = ray.remote(_Actor)

    def submit(lane: int, tried: Try) -> Any:
        if lane not in actors:
            actors[lane] = actor.options(**needs).remote(family, model, config.measure.image)
        part, _ = tried
        return actors[lane].score.remote(part, config.dataset_url, marks)

    def rescue(lane: int, tried: Try, error: ray.exceptions.RayError) -> Try:
        if not isinstance(error, cluster.LOST):
            raise cluster.failure(error) from error
        ray.kill(actors.pop(lane))  # it may be alive behind a broken line
        return _once_more(family, tried, error)

    def idle(lane: int) -> None:
        if lane in actors:  # its place may be what another lane waits for
            ray.kill(actors.pop(lane))

    tries = ((part, 0) for part in todo)
    with progress(f"score {family}", len(todo), "parts") as advance:
        for _ in cluster.lanes(tries, submit, min(room, len(todo)), rescue, idle):
            advance(1)


class _Actor:
    def __init__(self, family: str, model: Model, images: ImageConfig) -> None:
        self.family, self.model, self.images = family, model, images
        self.scorer: Scorer | None = None

    def score(self, part: Part, dataset: str, marks: dict[str, str]) -> None:
        # Loaded here and not above, so that the error of a bad model file is the task's own.
        self.scorer = self.scorer or _load(self.family, self.model)
        errors = ledger.read_part(dataset, {"image": marks["image"]}, part.name, ["error"])
        bad = frozenset(n for n, error in enumerate(errors["error"].to_pylist()) if error)
        table = self.scorer.score_part(part, self.images, bad)
        ledger.write_part(
            ledger.part_url(dataset, self.family, marks[self.family], part.name), table
        )


def _load(family: str, model: Model) -> Scorer:
    if isinstance(model, ModelConfig):
        return load(family, model)
    from pipeline.measure.clip_model import ClipScorer  # only actors pay for loading torch

    return ClipScorer(model)


def _room(family: str, model: Model) -> tuple[int, dict[str, int]]:
    """How many actors the cluster has room for, and what one takes of it."""
    if model.device == "cuda":
        if not cluster.gpus():
            raise HeadraceError(
                f"measure: {family} is to run on cuda, and this Ray has no GPU; set its device to "
                "cpu, or name a cluster that has one in RAY_ADDRESS"
            )
        return cluster.gpus(), {"num_gpus": 1}
    threads = min(model.threads, cluster.cpus_of_one())
    return max(1, cluster.cpus() // threads), {"num_cpus": threads}


def _once_more(family: str, tried: Try, error: ray.exceptions.RayError) -> Try:
    part, deaths = tried
    if deaths + 1 == DEATHS:
        raise HeadraceError(
            f"{part.source}: the process that runs the model {family!r} died {DEATHS} times over "
            "this part; look for an out-of-memory kill on its machine (a smaller batch needs less) "
            "and run the same command again: finished parts are kept"
        ) from error
    console.print(
        f"measure: {part.source}: the process of {family!r} died; starting another", soft_wrap=True
    )
    return part, deaths + 1
