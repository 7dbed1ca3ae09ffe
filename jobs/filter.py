"""`headrace filter`: trains the network that scores image-text pairs, and judges it."""

import numpy as np

from jobs.console import progress
from pipeline.format.images import ImageError, decode
from pipeline.measure.clip import LOCAL, ClipConfig
from pipeline.measure.clip_model import ClipScorer
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.source import SourceConfig
from trainer.contrastive import FilterConfig, train_filter


def train(config: FilterConfig) -> str:
    """Trains a filter and returns the name under which `measure.clip.model` finds it."""
    with progress(f"train filter {config.run}", config.steps, "steps") as advance:
        train_filter(config, lambda step, loss: advance(1, f"loss {loss:.3f}"))
    return f"{LOCAL}{config.run}"


def matched_auc(model: str, pairs: tuple[SourceConfig, ...]) -> float:
    """How often a held-out image prefers its own caption to another's: 0.5 is chance, 1 is always.

    The area under the ROC curve of matched against mismatched pairs, over all mismatched pairs.
    Captions that also fit other images count against the model.
    """
    scorer = ClipScorer(ClipConfig(model=model))
    images, captions = [], []
    limits = ImageConfig()
    for part in source.parts(pairs):
        for row in source.read(part, limits.max_bytes):
            try:
                images.append(decode(row.image, limits.max_pixels))
            except ImageError:
                continue
            captions.append(row.caption)
    similarity = scorer.similarity(images, captions)
    matched = np.diag(similarity)
    mismatched = similarity[~np.eye(len(matched), dtype=bool)]
    return auc(matched, mismatched)


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of (positive, negative) pairs in which the positive is larger; a tie counts half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / 2 / len(ordered))
