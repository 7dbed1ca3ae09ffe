"""`headrace measure`: every pool image is read once, and what it is goes to the ledger."""

from dataclasses import dataclass

from jobs import cluster, facts, scores
from jobs.config import CurateConfig
from jobs.console import console
from pipeline import ledger
from pipeline.format import writing
from pipeline.measure import image
from pipeline.pool.sample import Part
from pipeline.pool.source import parts as parts_of


@dataclass(frozen=True)
class Inputs:
    """What a curation reads: the pool's parts, those it is checked against, and the families."""

    parts: list[Part]
    references: list[Part]
    families: dict[str, str]
    """Family → fingerprint of the pool's facts."""
    reference_families: dict[str, str]
    """Those of the references: the image family, and the one that embeds for decontamination."""


def inputs(config: CurateConfig) -> Inputs:
    """Lists the sources and fingerprints the models. Reads no image."""
    against = config.decide.decontaminate.against if config.decide.decontaminate else ()
    families = _families(config)
    wanted = {"image", _family_of_copies(config)}
    of_references = {name: mark for name, mark in families.items() if name in wanted}
    return Inputs(parts_of(config.sources), parts_of(against), families, of_references)


def _families(config: CurateConfig) -> dict[str, str]:
    images = config.measure.image
    models = _models(config).items()
    marks = {family: scores.fingerprint(family, model, images) for family, model in models}
    return {"image": image.fingerprint(images), **marks}


def _family_of_copies(config: CurateConfig) -> str | None:
    """The family by whose embeddings copies of evaluation images are found, if one is named."""
    decontaminate = config.decide.decontaminate
    embedding = decontaminate.embedding if decontaminate else None
    return embedding.model if embedding else None


def missing(config: CurateConfig, found: Inputs) -> dict[str, list[Part]]:
    """For each family, the parts that the ledger does not hold yet."""
    todo = {}
    for family, mark in found.families.items():
        references = found.references if family in found.reference_families else []
        wanted = [*found.parts, *references]
        todo[family] = ledger.missing(config.dataset_url, family, mark, wanted)
    return todo


def run(config: CurateConfig, workers: int | None = None) -> Inputs:
    """Measures what is not in the ledger yet; a killed run is resumed by running it again."""
    found = inputs(config)
    todo = missing(config, found)
    writing.sweep(config.dataset_url)
    done = len(found.parts) + len(found.references) - len(todo["image"])
    console.print(f"measure: {len(todo['image'])} parts to do, {done} already in the ledger")
    if any(todo.values()):
        with cluster.session(workers):
            facts.measure(config, todo["image"], found.families["image"])
            for family, model in _models(config).items():
                scores.measure(config, family, model, todo[family], found.families)
    return found


def _models(config: CurateConfig) -> dict[str, scores.Model]:
    """Family → the model that makes it."""
    clip = {"clip": config.measure.clip} if config.measure.clip else {}
    return {**clip, **config.measure.models}
