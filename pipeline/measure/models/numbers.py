"""Scores and embeddings by a network of a file."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.format.errors import HeadraceError
from pipeline.measure.batches import Array, Run, ahead, padded, runs
from pipeline.measure.image import ImageConfig
from pipeline.measure.models import networks
from pipeline.measure.models.config import ModelConfig, schema, weights
from pipeline.measure.models.inputs import blank, preparing
from pipeline.pool.sample import Part

COLUMN = {"opennsfw": 1}
"""Which output is the score, where the kind says it: opennsfw gives fit and unfit."""


class NumberScorer:
    """A loaded network: scores parts one after another."""

    def __init__(self, name: str, config: ModelConfig, decoders: int = 1) -> None:
        """`decoders`: threads that make inputs ready while the network runs."""
        self.name, self.config, self.decoders = name, config, decoders
        self.column = COLUMN.get(config.kind, config.column)
        (file,) = weights(name, config)
        start = networks.torchscript if config.kind == "torchscript" else networks.onnx
        try:
            self.network = start(file, config)
            self._forward(np.stack([blank(config)] * config.batch))  # what it is shows here
        except Exception as error:  # a stranger's file makes its runtime raise anything
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise HeadraceError(f"measure.models.{name}: {file} cannot be used: {words}") from error

    def score_part(
        self, part: Part, images: ImageConfig, bad: frozenset[int] = frozenset()
    ) -> pa.Table:
        """One row of the model's schema for each pool image of the part, in order; null where bad.

        A caption is scored whatever its image is; no words, no score.
        """
        prepare = preparing(self.config, images)
        unread = bad if self.config.of == "image" else frozenset()
        found = runs(part, images, prepare, self.config.batch, unread, self.decoders)
        columns = schema(self.name, self.config)
        return pa.concat_tables([columns.empty_table(), *map(self._score_run, ahead(found))])

    def _score_run(self, run: Run) -> pa.Table:
        batch = padded(run.inputs, self.config.batch)
        values: list[Any] = [None] * len(run.inputs)
        if batch is not None:
            for slot, value in enumerate(self._forward(batch)[: len(values)]):
                if run.inputs[slot] is not None and np.isfinite(value).all():
                    values[slot] = value
        columns = schema(self.name, self.config)
        return pa.table({columns.names[0]: pa.array(values, columns.types[0])}, schema=columns)

    def _forward(self, batch: Array) -> Array:
        """(batch,) float32 scores or (batch, n) float16 unit vectors. Raises ValueError."""
        found = self.network(batch)
        if found.ndim == 1:
            found = found[:, None]
        if found.ndim != 2 or len(found) != len(batch):
            raise ValueError(f"it makes {found.shape} of {batch.shape}, not (batch, n)")
        if self.config.output == "embedding":
            lengths = np.linalg.norm(found, axis=1, keepdims=True)
            return (found / np.maximum(lengths, 1e-30)).astype(np.float16)
        if self.column >= found.shape[1]:
            raise ValueError(f"it gives {found.shape[1]} numbers; column {self.column} is none")
        return found[:, self.column]
