"""`headrace mix`: pins sources and their ratio under one URL. No image is copied."""

from functools import partial

from jobs.config import MixConfig, MixSourceConfig
from jobs.indexes import on_ray
from pipeline.format import address, retired, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.listing import publish_listing
from pipeline.format.mixture import Mixture, Source, integer_weights, mixture_bytes
from pipeline.format.snapshot import read_snapshot
from pipeline.format.tarset import tar_set


def run(config: MixConfig, workers: int | None = None) -> Mixture:
    """Publishes the mixture; an equal one that is there already is left alone.

    Tars are scanned for their indexes, which go to the folder `<mixture>.tars` beside it. Raises
    HeadraceError if the URL holds a different mixture: a published one never changes under the
    trainers that name it; Retired if a source was retired.
    """
    url = address.absolute(config.mixture)
    weights = integer_weights({source.name: source.ratio for source in config.sources})
    mixture = Mixture(tuple(_source(s, weights[s.name], url, workers) for s in config.sources))
    data = mixture_bytes(mixture)
    try:
        writing.publish(url, data, create_only=True)
    except FileExistsError:
        if store.read_bytes(url) != data:
            raise HeadraceError(
                f"{url}: holds another mixture, which trainers may be pinned to; "
                "publish this one under a new name"
            ) from None
    return mixture


def _source(source: MixSourceConfig, weight: int, mixture: str, workers: int | None) -> Source:
    if source.snapshot:
        snapshot = read_snapshot(source.snapshot)
        retired.check(snapshot.url)
        pinned, samples = snapshot.url, snapshot.samples
    else:
        folder = mixture.removesuffix(".json") + ".tars"
        shards = tar_set(source.tars or (), folder, run=partial(on_ray, workers=workers))
        pinned, samples = publish_listing(shards), int(shards.samples.sum())
    if not samples:
        raise HeadraceError(f"{pinned}: holds no samples; nothing can be drawn from it")
    return Source(source.name, pinned, weight, samples)
