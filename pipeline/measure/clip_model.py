"""Runs an open_clip model over the parts of a pool: CLIP_SCHEMA of the ledger.

The same image gets the same score whoever scores it: see `batches`; the number of threads is set.
"""

from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pyarrow as pa
import torch
from PIL import Image

from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure.batches import Array, Run, padded, picture, runs
from pipeline.measure.clip import ClipConfig
from pipeline.measure.image import ImageConfig
from pipeline.pool.sample import Part, PoolImage

CODE = "its checkpoint is no file of weights alone; what else is in it could run code"


class ClipScorer:
    """A loaded model: scores parts one after another."""

    def __init__(self, config: ClipConfig) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        try:
            # weights_only: a checkpoint is data, and no pickle of a stranger's code.
            model, _, preprocess = open_clip.create_model_and_transforms(
                config.model,
                pretrained=config.pretrained,
                device=config.device,
                weights_only=True,
            )
            self.tokenizer = open_clip.get_tokenizer(config.model)
        except Exception as error:  # a stranger's checkpoint makes open_clip raise anything
            words = CODE if isinstance(error, UnpicklingError) else " ".join(str(error).split())
            raise HeadraceError(
                f"measure.clip.model {config.model!r} cannot be loaded: {words[:300]}"
            ) from error
        self.model = model.eval()
        self.preprocess = preprocess

    def score_part(
        self, part: Part, images: ImageConfig, bad: frozenset[int] = frozenset()
    ) -> pa.Table:
        """One row of CLIP_SCHEMA for each pool image of the part, in order; null where bad.

        `bad`: numbers of the rows that the image family could not read; they are not decoded
        again, for a decoder may die of them.
        """

        def prepare(row: PoolImage) -> Array | None:
            image = picture(row, images)
            return None if image is None else self.preprocess(image).numpy()

        tables = [
            self._score_run(run) for run in runs(part, images, prepare, self.config.batch, bad)
        ]
        return pa.concat_tables([ledger.CLIP_SCHEMA.empty_table(), *tables])

    @torch.inference_mode()
    def similarity(self, images: list[Image.Image], captions: list[str]) -> npt.NDArray[np.float32]:
        """Cosines of every image (rows) with every caption (columns)."""
        pixels = torch.stack([self.preprocess(image) for image in images])
        image = self.model.encode_image(pixels.to(self.config.device), normalize=True)
        tokens = self.tokenizer(captions).to(self.config.device)
        text = self.model.encode_text(tokens, normalize=True)
        return (image @ text.T).float().cpu().numpy()

    def _score_run(self, run: Run) -> pa.Table:
        pixels = padded(run.inputs, self.config.batch)
        rows: list[dict[str, Any]] = [{} for _ in run.inputs]
        if pixels is not None:
            captions = run.captions + [""] * (self.config.batch - len(run.captions))
            embeddings, scores = self._forward(torch.from_numpy(pixels), captions)
            for slot, one in enumerate(run.inputs):
                if one is not None:
                    embedding = embeddings[slot].astype(np.float16)
                    rows[slot] = {"clip_score": scores[slot], "clip_embedding": embedding}
        return pa.Table.from_pylist(rows, schema=ledger.CLIP_SCHEMA)

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
