"""Families that a model makes, on Ray: a pool of actors, each holding the loaded model."""

import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray

from jobs import capacity, cluster, metrics
from jobs.config import CurateConfig
from jobs.console import console, progress
from jobs.stages import StageConfig
from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import ClipConfig, PairsConfig
from pipeline.measure.clip import fingerprint as clip_fingerprint
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig
from pipeline.measure.models.config import fingerprint as model_fingerprint
from pipeline.measure.models.load import Scorer, load
from pipeline.pool.sample import Part

DEATHS = 3
"""As many actors may die of one part before the job stops and names it. The images in it were
decoded before, so it is the model, its library or the machine that fails."""

Model = ClipConfig | PairsConfig | ModelConfig

Try = tuple[Part, int]
"""A part, and how many actors died of it."""


def fingerprint(family: str, model: Model, images: ImageConfig) -> str:
    """Names what a family's numbers depend on, by this machine's files of the model.

    Raises HeadraceError if the model cannot be had here.
    """
    if isinstance(model, ModelConfig):
        return model_fingerprint(family, model, images)
    return clip_fingerprint(model, images)


def measure(
    config: CurateConfig,
    family: str,
    model: Model,
    todo: Sequence[Part],
    marks: dict[str, str],
) -> None:
    """Publishes the scores of these parts, whose facts are in the ledger.

    `marks`: fingerprints of the images' facts and of this family, under which they are published.
    """
    if not todo:
        return
    actors: dict[int, Any] = {}
    needs = options(family, model, config.stages.family(family))
    capacity.check(family if family == "clip" else f"models.{family}", needs)
    # One beside the model's threads, and all processors beside a GPU.
    decoders = max(1, int(needs["num_cpus"])) if model.device == "cuda" else 1
    actor: Any = ray.remote(_Actor)

    def submit(lane: int, tried: Try) -> Any:
        if lane not in actors:
            actors[lane] = actor.options(**needs).remote(
                family, model, config.measure.image, decoders
            )
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
        for images, nbytes in cluster.lanes(
            tries, submit, partial(capacity.room, needs), rescue, idle
        ):
            metrics.measured(family, images, nbytes)
            advance(1)


class _Actor:
    def __init__(self, family: str, model: Model, images: ImageConfig, decoders: int) -> None:
        self.family, self.model, self.images, self.decoders = family, model, images, decoders
        self.scorer: Scorer | None = None

    def score(self, part: Part, dataset: str, marks: dict[str, str]) -> tuple[int, int]:
        """Publishes the scores of a part; its images and bytes."""
        # Loaded here and not above, so that the error of a bad model file is the task's own.
        self.scorer = self.scorer or self._load(marks[self.family])
        errors = ledger.read_part(dataset, {"image": marks["image"]}, part.name, ["error"])
        bad = frozenset(n for n, error in enumerate(errors["error"].to_pylist()) if error)
        table = self.scorer.score_part(part, self.images, bad)
        ledger.write_part(
            ledger.part_url(dataset, self.family, marks[self.family], part.name), table
        )
        return table.num_rows, part.nbytes

    def _load(self, mark: str) -> Scorer:
        """The model, if this machine's is the one whose name its scores are to bear."""
        if fingerprint(self.family, self.model, self.images) != mark:
            raise HeadraceError(
                f"measure: {self.family}: the machine {socket.gethostname()} holds another model "
                "under this name than the one that started the job; give both the same files, and "
                "run the same command again"
            )
        if isinstance(self.model, ModelConfig):
            return load(self.family, self.model, self.decoders)
        from pipeline.measure.clip_model import ClipScorer, PairScorer  # only actors load torch

        kind = PairScorer if isinstance(self.model, PairsConfig) else ClipScorer
        return kind(self.model, self.decoders)


def options(family: str, model: Model, stage: StageConfig) -> dict[str, Any]:
    """What one actor takes: a GPU and its share of processors, or a processor a thread.

    Raises HeadraceError if the model is to run on a GPU and the cluster has none.
    """
    if model.device != "cuda":
        return stage.options(num_cpus=min(model.threads, capacity.cpus_of_one()))
    if not capacity.gpus():
        raise HeadraceError(
            f"measure: {family} is to run on cuda, and this Ray has no GPU; set its device to "
            "cpu, or name a cluster that has one in RAY_ADDRESS"
        )
    taken = stage.options(num_gpus=1)
    return {"num_cpus": max(1, int(_decoders() * taken["num_gpus"]))} | taken


def _decoders() -> int:
    """Processors for each GPU, on the machine that has the fewest: an actor must fit anywhere."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [node.get("CPU", 0) // node["GPU"] for node in nodes if node.get("GPU")]
    return max(1, int(min(shares)))


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
