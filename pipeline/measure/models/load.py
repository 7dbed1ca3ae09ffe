"""Loads a model by its config; alone here are the libraries of models imported."""

from typing import Protocol

import pyarrow as pa

from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig
from pipeline.pool.sample import Part


class Scorer(Protocol):
    """A loaded model."""

    def score_part(
        self, part: Part, images: ImageConfig, bad: frozenset[int] = frozenset()
    ) -> pa.Table:
        """One row of the model's schema for each pool image of the part, in order; null where bad.

        `bad`: numbers of the rows that the image family could not read; they are not decoded
        again, for a decoder may die of them.
        """


def load(name: str, config: ModelConfig, decoders: int = 1) -> Scorer:
    """The model that the config calls so, and threads that decode for it (faces need none).

    Raises HeadraceError if it cannot be had.
    """
    if config.kind == "mtcnn":
        from pipeline.measure.models.faces import FaceScorer

        return FaceScorer(name, config)
    from pipeline.measure.models.numbers import NumberScorer

    return NumberScorer(name, config, decoders)
