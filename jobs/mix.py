"""`headrace mix`: pins snapshots and their ratio under one URL. No image is copied."""

from jobs.config import MixConfig
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, integer_weights, mixture_bytes
from pipeline.format.snapshot import read_snapshot


def run(config: MixConfig) -> Mixture:
    """Publishes the mixture; an equal one that is there already is left alone.

    Raises HeadraceError if the URL holds a different mixture: a published one never changes
    under the trainers that name it.
    """
    weights = integer_weights({source.name: source.ratio for source in config.sources})
    mixture = Mixture(tuple(_source(s.name, s.snapshot, weights[s.name]) for s in config.sources))
    url = store.absolute(config.mixture)
    data = mixture_bytes(mixture)
    try:
        store.publish(url, data, create_only=True)
    except FileExistsError:
        if store.read_bytes(url) != data:
            raise HeadraceError(
                f"{url}: holds another mixture, which trainers may be pinned to; "
                "publish this one under a new name"
            ) from None
    return mixture


def _source(name: str, url: str, weight: int) -> Source:
    snapshot = read_snapshot(url)
    if not snapshot.samples:
        raise HeadraceError(f"{snapshot.url}: holds no samples; nothing can be drawn from it")
    return Source(name, snapshot.url, weight, snapshot.samples)
