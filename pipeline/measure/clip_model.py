"""Runs an open_clip model over the parts of a pool: CLIP_SCHEMA of the ledger.

The same image gets the same score whoever scores it: batches are fixed runs of one part, padded
to full size, a bad image keeps its slot as zeros, and the number of threads is set.
"""

from collections.abc import Iterator
from itertools import islice
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pyarrow as pa
import torch
from PIL import Image
from safetensors import SafetensorError

from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.format.images import ImageError, decode
from pipeline.measure.clip import ClipConfig
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.sample import Part

LONGEST = 64
"""Sides longer than so many times the shorter are cut to their middle: resized to the network's
input, a strip of one pixel by 60,000 would fill 9 GB, of which it looks at the middle square."""


class ClipScorer:
    """A loaded model: scores parts one after another."""

    def __init__(self, config: ClipConfig) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                config.model, pretrained=config.pretrained, device=config.device
            )
            self.tokenizer = open_clip.get_tokenizer(config.model)
        except (RuntimeError, OSError, ValueError, SafetensorError, UnpicklingError) as error:
            raise HeadraceError(
                f"measure.clip.model {config.model!r} cannot be loaded: {error}"
            ) from error
        self.model = model.eval()
        self.preprocess = preprocess

    def score_part(self, part: Part, images: ImageConfig) -> pa.Table:
        """One row of CLIP_SCHEMA for each pool image of the part, in order; null where bad."""
        pairs = (
            (_pixels(row.image, images), row.caption) for row in source.read(part, images.max_bytes)
        )
        tables = [self._score_run(run) for run in _runs(pairs, self.config.batch)]
        return pa.concat_tables([ledger.CLIP_SCHEMA.empty_table(), *tables])

    @torch.inference_mode()
    def similarity(self, images: list[Image.Image], captions: list[str]) -> npt.NDArray[np.float32]:
        """Cosines of every image (rows) with every caption (columns)."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        image = self.model.encode_image(pixels.to(self.config.device), normalize=True)
        tokens = self.tokenizer(captions).to(self.config.device)
        text = self.model.encode_text(tokens, normalize=True)
        return (image @ text.T).float().cpu().numpy()

    def _score_run(self, run: list[tuple[Image.Image | None, str]]) -> pa.Table:
        pixels = [self.preprocess(image) if image else None for image, _ in run]
        shape = next((p.shape for p in pixels if p is not None), None)
        if shape is None:
            return _table(np.zeros((len(run), 0), np.float32), np.full(len(run), np.nan), run)
        padded = torch.zeros((self.config.batch, *shape))
        for slot, image in enumerate(pixels):
            if image is not None:
                padded[slot] = image
        captions = [caption for _, caption in run] + [""] * (self.config.batch - len(run))
        embeddings, scores = self._forward(padded, captions)
        return _table(embeddings[: len(run)], scores[: len(run)], run)

    @torch.inference_mode()
    def _forward(
        self, images: torch.Tensor, captions: list[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        image = self.model.encode_image(images.to(self.config.device), normalize=True)
        text = self.model.encode_text(
            self.tokenizer(captions).to(self.config.device), normalize=True
        )
        scores = (image * text).sum(-1)
        return image.float().cpu().numpy(), scores.float().cpu().numpy()


def _runs(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while run := list(islice(rows, size)):
        yield run


def _pixels(data: bytes, images: ImageConfig) -> Image.Image | None:
    try:
        return _middle(decode(data, images.max_pixels))
    except ImageError:
        return None


def _middle(image: Image.Image) -> Image.Image:
    most = LONGEST * min(image.size)
    width, height = min(image.width, most), min(image.height, most)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _table(
    embeddings: npt.NDArray[np.float32],
    scores: npt.NDArray[Any],
    run: list[tuple[Image.Image | None, str]],
) -> pa.Table:
    good = [image is not None for image, _ in run]
    rows = zip(good, scores.tolist(), embeddings.astype(np.float16), strict=True)
    columns = [
        {"clip_score": score, "clip_embedding": embedding} if ok else {}
        for ok, score, embedding in rows
    ]
    return pa.Table.from_pylist(columns, schema=ledger.CLIP_SCHEMA)
