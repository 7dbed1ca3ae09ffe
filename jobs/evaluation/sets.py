"""Labelled sets: datasets of ours whose captions are the names of classes.

One that is a dataset is used as it is. Anything else that a pool can be read from is made into one
first, by a curation without a rule: only what cannot be read is left out.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from jobs import curate, decide, measure
from jobs.config import CurateConfig
from jobs.console import console
from pipeline import ledger, plan
from pipeline.format import address, retired
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, latest, read_snapshot
from pipeline.pool.source import SourceConfig
from pipeline.pool.webdataset import LABEL


def _kind(given: Any) -> str:
    return "dataset" if isinstance(given, str) else "source"


Labelled = Annotated[
    Annotated[str, Field(min_length=1), Tag("dataset")] | Annotated[SourceConfig, Tag("source")],
    Discriminator(_kind),
]
"""A dataset or snapshot, by its URL; or a source, as `{url: …, format: …}`. Of a source, the field
`label` of an image's record is its class (`caption` names another field), or else its caption."""


def labelled(where: Labelled, url: str, workers: int | None = None) -> str:
    """The snapshot of a set, made in the dataset `url` if it is none yet; returns its URL.

    One that was made before is found made, without Ray. Raises HeadraceError if the set cannot be
    read, or is retired.
    """
    found = published(where, url)
    if found is None:
        assert not isinstance(where, str)
        found = curate.run(_curation(where, url), workers)
        left_out = sum(found.counts.values()) - found.samples
        told = f"{found.samples:,} images, {left_out:,} left out that cannot be read"
        console.print(f"{address.redact(where.url)}: {told}", markup=False, soft_wrap=True)
    return found.url


def published(where: Labelled, url: str) -> Snapshot | None:
    """The snapshot of a set; None if it has to be made in `url` first. Reads no image.

    Raises HeadraceError if there is no such dataset or source, or it is retired.
    """
    if isinstance(where, str):
        return _opened(where)
    config = _curation(where, url)
    found = measure.inputs(config)
    if not latest(config.dataset_url):
        return None
    snapshot = read_snapshot(config.dataset_url)
    parts = plan.read_sources(snapshot.url)["part"].to_pylist()
    is_same = parts == [part.name for part in found.lineage.parts]
    is_same &= snapshot.config == decide.identity_of(config) and snapshot.ledger == found.families
    return snapshot if is_same else None


def classes(url: str) -> tuple[str, ...]:
    """The distinct captions of a snapshot in their order: numbers by size, then names. No image is
    read. Raises HeadraceError if an image has none.
    """
    snapshot = read_snapshot(url)
    found = set[str]()
    for number, part in enumerate(plan.read_sources(snapshot.url)["part"].to_pylist()):
        kept = plan.read_part(snapshot.url, number, ["keep"])["keep"]
        family = {"image": snapshot.ledger["image"]}
        facts = ledger.read_part(snapshot.dataset, family, part, ["caption"])
        found |= set(facts["caption"].filter(kept).unique().to_pylist())
    if found & {"", None}:
        raise HeadraceError(
            f"{snapshot.url}: has images without a class; put each into a folder named by its "
            "class, or give its record a field `label` (key.json or key.cls of tars, a column of "
            "parquet), or name the field that holds it as `caption`"
        )
    return in_order(found)


def check_foreign(where: str, train: Iterable[str], test: Iterable[str]) -> None:
    """Raises HeadraceError, which begins with `where`, if `test` has classes that `train` lacks."""
    known = set(train)
    if foreign := in_order(set(test) - known):
        raise HeadraceError(
            f"{where}: {len(foreign)} of its classes are none of train's {len(known)}, as "
            f"{foreign[0][:80]!r}; name sets that are labelled alike"
        )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by size, then all other names by the alphabet."""
    return tuple(sorted(names, key=_place))


def _place(name: str) -> tuple[bool, int, str, str]:
    """Digits that are as many are in the order of their alphabet: a caption may have thousands."""
    is_number = name.isascii() and name.isdigit()
    digits = name.lstrip("0") if is_number else ""
    return not is_number, len(digits), digits, name


def _opened(url: str) -> Snapshot:
    try:
        snapshot = read_snapshot(url)
    except HeadraceError as error:
        raise HeadraceError(
            f"{error}; of images that are no dataset yet, say how they lie: {{url: …, format: …}}"
        ) from error
    retired.check(snapshot.url)
    return snapshot


def _curation(source: SourceConfig, url: str) -> CurateConfig:
    named = source if source.caption else source.model_copy(update={"caption": LABEL})
    return CurateConfig(dataset=url, sources=(named,))
