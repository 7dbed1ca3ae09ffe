"""Made-up pairs of embeddings: how alike an image and its caption are is known."""

import numpy as np

from pipeline.assess.cosines import Embeddings


def unit(vectors: np.ndarray) -> Embeddings:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pairs(n: int, seed: int = 0, noise: float = 1.0, d: int = 8) -> tuple[Embeddings, Embeddings]:
    """Images that are their captions and noise."""
    random = np.random.default_rng(seed)
    captions = random.normal(size=(n, d))
    return unit(captions + noise * random.normal(size=(n, d))), unit(captions)


def texts(n: int) -> list[str]:
    return [f"a photo of thing {number}" for number in range(n)]


def shared(n: int, kinds: int, seed: int = 0) -> tuple[Embeddings, Embeddings, list[str]]:
    """Pairs of which many have the same caption."""
    images, captions = pairs(n, seed)
    which = np.random.default_rng(seed).integers(0, kinds, n)
    return images, captions[which], [f"a photo of a {number}" for number in which]
