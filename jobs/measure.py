"""`headrace measure`: every pool image is read once, and what it is goes to the ledger."""

from dataclasses import dataclass

from jobs import capacity, cluster, facts, scores
from jobs.config import CurateConfig
from jobs.console import console
from jobs.record import recording
from pipeline import ledger
from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot
from pipeline.lineage import Lineage, after, root
from pipeline.measure import image
from pipeline.pool.sample import Part
from pipeline.pool.source import parts as parts_of


@dataclass(frozen=True)
class Inputs:
    """What a curation reads: the pool, the parts it is checked against, and the families."""

    lineage: Lineage
    references: list[Part]
    families: dict[str, str]
    """Family → fingerprint of the pool's facts."""
    reference_families: dict[str, str]
    """Those of the references: the image family, and the one that embeds for decontamination."""


def inputs(config: CurateConfig, parent: Snapshot | None = None, rebase: bool = False) -> Inputs:
    """Lists the sources and fingerprints the models. Reads no image.

    With a parent, its parts stand before what is new; `rebase` takes what is listed, and no more.
    """
    against = config.decide.decontaminate.against if config.decide.decontaminate else ()
    families = _families(config)
    wanted = {"image", _family_of_copies(config)}
    of_references = {name: mark for name, mark in families.items() if name in wanted}
    listed = parts_of(config.sources)
    lineage = after(parent, listed) if parent and not rebase else root(listed, parent)
    return Inputs(lineage, parts_of(against), families, of_references)


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
        wanted = [*found.lineage.parts, *references]
        todo[family] = ledger.missing(config.dataset_url, family, mark, wanted)
        for part in todo[family]:
            if part.name in found.lineage.gone:
                raise HeadraceError(_cannot_be_measured(family, part))
    return todo


def _cannot_be_measured(family: str, part: Part) -> str:
    return (
        f"{part.source}: the sources no longer hold what the parent snapshot was made of, and the "
        f"ledger has no facts of the family {family!r} of it: keep the settings of before, bring "
        "it back, or run `headrace refresh --rebase`, which decides on what the sources hold now"
    )


def run(config: CurateConfig, found: Inputs, workers: int | None = None) -> None:
    """Measures what is not in the ledger yet; a killed run is resumed by running it again."""
    with recording("measure", config.dataset_url, config) as record, record.stage("measure"):
        todo = missing(config, found)
        writing.sweep(config.dataset_url)
        done = len(found.lineage.parts) + len(found.references) - len(todo["image"])
        console.print(f"measure: {len(todo['image'])} parts to do, {done} already in the ledger")
        if any(todo.values()):
            with cluster.session(workers):
                # Of every stage now, not when hours of the first are over.
                for stage, asked in config.stages.named.items():
                    capacity.check(stage, asked.options())
                facts.measure(config, todo["image"], found.families["image"])
                for family, model in _models(config).items():
                    scores.measure(config, family, model, todo[family], found.families)


def _models(config: CurateConfig) -> dict[str, scores.Model]:
    """Family → the model that makes it."""
    clip = {"clip": config.measure.clip} if config.measure.clip else {}
    return {**clip, **config.measure.models}
