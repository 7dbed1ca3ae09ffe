"""Runs an open_clip model over the parts of a pool: CLIP_SCHEMA or PAIRS_SCHEMA of the ledger.

The same image gets the same score, to the last bit, whoever scores it: see `batches`; the number
of threads is set. Tested on one CPU (one thread, float32 and bfloat16), and on no GPU.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from pipeline import ledger
from pipeline.clip.opening import open_model
from pipeline.measure.batches import Array, Run, ahead, padded, picture, runs
from pipeline.measure.clip import ClipConfig
from pipeline.measure.image import ImageConfig
from pipeline.pool.sample import Part, PoolImage

Good = npt.NDArray[np.bool_]
"""(rows,): which rows of a run have an image."""


class ClipScorer:
    """A loaded model: scores parts one after another."""

    schema = ledger.CLIP_SCHEMA

    def __init__(self, config: ClipConfig, decoders: int = 1) -> None:
        """`decoders`: threads that make images ready while the model runs."""
        torch.set_num_threads(config.threads)
        self.config, self.decoders = config, decoders
        opened = open_model(config.model, config.pretrained, config.device)
        self.model: Any = opened.clip
        self.tokenizer, self.preprocess = opened.tokenizer, opened.preprocess

    def score_part(
        self, part: Part, images: ImageConfig, bad: frozenset[int] = frozenset()
    ) -> pa.Table:
        """One row of the schema for each pool image of the part, in order; null where bad.

        `bad`: numbers of the rows that the image family could not read; they are not decoded
        again, for a decoder may die of them.
        """

        def prepare(row: PoolImage) -> Array | None:
            image = picture(row, images)
            return None if image is None else self.preprocess(image).numpy()

        found = runs(part, images, prepare, self.config.batch, bad, self.decoders)
        tables = [self._score(*one) for one in ahead(map(self._inputs, found))]
        return pa.concat_tables([self.schema.empty_table(), *tables])

    def _inputs(self, run: Run) -> tuple[Good, Tensor | None, Tensor | None]:
        """Which rows are good, and pixels and tokens of a whole batch; none for no good row."""
        good = np.array([one is not None for one in run.inputs])
        pixels = padded(run.inputs, self.config.batch)
        if pixels is None:
            return good, None, None
        captions = run.captions + [""] * (self.config.batch - len(run.captions))
        return good, self._pinned(torch.from_numpy(pixels)), self._pinned(self.tokenizer(captions))

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self.config.device == "cuda" else tensor

    def _score(self, good: Good, pixels: Tensor | None, tokens: Tensor | None) -> pa.Table:
        if pixels is None or tokens is None:
            nulls = [pa.nulls(len(good), kind) for kind in self.schema.types]
            return pa.table(nulls, schema=self.schema)
        image, text = self._embed(pixels, tokens)
        scores = (image * text).sum(-1)
        found = [one.cpu().numpy()[: len(good)] for one in (scores, image, text)]
        return self._table(good, *found)

    @torch.inference_mode()
    def _embed(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, width) float32 of unit length: images and captions."""
        device, precision = self.config.device, self.config.precision
        dtype = getattr(torch, precision)
        with torch.autocast(device, dtype, enabled=precision != "float32"):
            image = self.model.encode_image(pixels.to(device, non_blocking=True), normalize=False)
            text = self.model.encode_text(tokens.to(device, non_blocking=True), normalize=False)
        return functional.normalize(image.float(), dim=-1), functional.normalize(
            text.float(), dim=-1
        )

    def _table(self, good: Good, scores: Array, image: Array, text: Array) -> pa.Table:
        columns = [pa.array(scores, mask=~good), vectors(image.astype(np.float16), good)]
        return pa.table(columns, schema=self.schema)


class PairScorer(ClipScorer):
    """A loaded model that keeps what it makes of images and of captions."""

    schema = ledger.PAIRS_SCHEMA

    def _table(self, good: Good, scores: Array, image: Array, text: Array) -> pa.Table:
        columns = [pa.array(scores, mask=~good), vectors(image, good), vectors(text, good)]
        return pa.table(columns, schema=self.schema)


def vectors(found: Array, good: Good) -> pa.ListArray:
    """(rows, width) as one list a row, null where it is not good."""
    offsets = np.concatenate([[0], np.cumsum(good * found.shape[1])]).astype(np.int32)
    values = pa.array(found[good].ravel())
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~good))
