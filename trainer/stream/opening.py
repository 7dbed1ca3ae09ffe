"""What a person names, opened: named and weighted sources, whose shards are known."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pipeline.format import retired
from pipeline.format.errors import HeadraceError
from pipeline.format.listing import ENDING, read_listing
from pipeline.format.mixture import Mixture, integer_weights, read_mixture
from pipeline.format.mixture import Source as MixtureSource
from pipeline.format.patience import Patience, patiently
from pipeline.format.shards import ShardSet, of_snapshot
from pipeline.format.snapshot import Snapshot, read_snapshot
from pipeline.format.tarset import tar_set
from trainer.stream.order import default_block
from trainer.stream.plan import PlannedSource

Tars = str | Sequence[str]
"""A snapshot's URL, or tars: a list of them, or a URL with `{00..99}` or `*`, or of their
published list (`….shards.parquet`)."""

Named = Tars | Mapping[str, tuple[Tars, float]] | Mixture
"""All that a stream can be made of: a source, the URL of a mixture (`….json`), a mixture, or
sources by name with their ratios, as {"web": ("s3://b/web", 0.8), "in1k": ("/data/in1k", 0.2)}."""

Block = int | Mapping[str, int] | None
"""Samples read together, of all sources or by their names; `default_block` where none is given."""

UNNAMED = "data"
"""The name of a source that was given none. It keys the order, so a copy of the set that lies
elsewhere is drawn in the same one."""


class Opened(NamedTuple):
    """A source of a stream."""

    name: str
    weight: int
    shards: ShardSet


def open_all(
    named: Named, cache: str | None = None, patience: Patience | None = None
) -> list[Opened]:
    """The sources in the order in which they were named. Reads manifests, no index of a snapshot.

    Tars without an index are scanned, once: `cache` is the folder for it. Raises HeadraceError if
    a source is missing, damaged, retired, empty or not the size that the mixture says, or if two
    have one name.
    """
    patience = patience or Patience()
    if isinstance(named, str) and named.endswith(".json"):
        named = patiently(partial(read_mixture, named), named, patience)
    if isinstance(named, Mixture):
        opened = [_of_mixture(source, cache, patience) for source in named.sources]
    elif isinstance(named, Mapping):
        weights = integer_weights({name: ratio for name, (_, ratio) in named.items()})
        opened = [
            Opened(name, weights[name], _shards(tars, cache, patience))
            for name, (tars, _) in named.items()
        ]
    else:
        opened = [Opened(UNNAMED, 1, _shards(named, cache, patience))]
    _check(opened)
    return opened


def to_read(url: str, patience: Patience) -> Snapshot:
    """A snapshot whose shards are to be read, by its URL or its dataset's.

    Raises HeadraceError if there is none, and Retired if its shards may be gone.
    """
    snapshot = patiently(partial(read_snapshot, url), url, patience)
    patiently(partial(retired.check, snapshot.url), snapshot.url, patience)
    return snapshot


def as_planned(source: Opened, block: Block, lanes: int) -> PlannedSource:
    """A source as a stream of so many lanes plans it."""
    samples = int(source.shards.samples.sum())
    chosen = block.get(source.name) if isinstance(block, Mapping) else block
    return PlannedSource(
        source.name, samples, source.weight, chosen or default_block(samples, lanes)
    )


def _of_mixture(source: MixtureSource, cache: str | None, patience: Patience) -> Opened:
    shards = _shards(source.snapshot, cache, patience)
    held = int(shards.samples.sum())
    if held != source.samples:
        raise HeadraceError(
            f"{shards.label}: holds {held} samples, the mixture says {source.samples} of source "
            f"{source.name!r}; mix it again, or restore it"
        )
    return Opened(source.name, source.weight, shards)


def _shards(where: Tars, cache: str | None, patience: Patience) -> ShardSet:
    if not isinstance(where, str) or _names_tars(where):
        return tar_set(where, cache, patience=patience)
    if where.endswith(ENDING):
        return read_listing(where, patience)
    return of_snapshot(to_read(where, patience))


def _names_tars(url: str) -> bool:
    return url.endswith(".tar") or any(sign in url for sign in "{*?[")


def _check(opened: Sequence[Opened]) -> None:
    """Names key the randomness: two sources of one name would be drawn in one order."""
    if not opened:
        raise HeadraceError("mixture: no source is named; name at least one")
    names = [source.name for source in opened]
    if len(set(names)) != len(names):
        raise HeadraceError(f"mixture: source names {names} repeat; give each its own")
    for name, _, shards in opened:
        if not shards.samples.sum():
            raise HeadraceError(
                f"{shards.label}: source {name!r} has no samples; keep more, or leave it out"
            )
