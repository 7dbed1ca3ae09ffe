"""What a stream is told: the shape of its batches, and the seed of its randomness."""

from pydantic import BaseModel, Field, PositiveInt, model_validator

from pipeline.format.patience import Patience
from trainer.stream.augment import AugmentConfig


class CacheConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """A folder on the node's own disk, which its ranks share."""

    folder: str = Field(min_length=1)
    """A path, or a `file://` URL. Several runs may share it if what they pin fits in together.
    Indexes of foreign tars lie there too, on top of `max_bytes`: a run that is resumed with another
    folder scans its tars anew."""

    max_bytes: int = Field(gt=0)
    """What its shards may take; indexes come on top, about 64 bytes a sample. All sources with
    `block: 1` on remote stores must fit in."""


class StreamConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """The shape of the batches and the keys of their randomness."""

    batch: int = Field(gt=0)
    """Images in a step over all ranks; a multiple of `lanes`."""

    lanes: int = Field(gt=0)
    """Independent readers. Any number of ranks up to it reads the same batches."""

    image_size: int = Field(gt=0)
    """Side of the crops, in pixels."""

    seed: int = 0
    """Of the order and of the crops."""

    block: PositiveInt | dict[str, PositiveInt] | None = None
    """Samples read together: 1 for a set on local disk, up to 256 from a store (the default).
    One number for all sources, or by source name."""

    augment: AugmentConfig = AugmentConfig()
    """Crops, flips and colours."""

    threads: int = Field(default=2, gt=0)
    """Threads of one rank that decode. Changes no batch."""

    reads: int = Field(default=8, gt=0)
    """Blocks of one rank that are read at once. Changes no batch."""

    read_ahead: int = Field(default=4, gt=0)
    """Batches of one rank that are made in advance. Changes no batch."""

    patience: Patience = Patience()
    """How long a store that fails is asked again. Changes no batch."""

    cache: CacheConfig | None = None
    """Where shards of a remote source with `block: 1` are kept. Changes no batch."""

    max_bad: float = Field(default=0.01, ge=0, le=1)
    """A training stops when a larger share of the samples drawn is damaged. A stream alone only
    tells of them in `Batch.bad`: see `trainer.delivered.Account`. Changes no batch."""

    @model_validator(mode="after")
    def _lanes_share_the_batch(self) -> "StreamConfig":
        if self.batch % self.lanes:
            raise ValueError(f"batch {self.batch} is not a multiple of lanes {self.lanes}")
        return self
