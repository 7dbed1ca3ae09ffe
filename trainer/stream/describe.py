"""What a stream will be and hold, told before it starts. Arithmetic: nothing is read."""

import math
from collections.abc import Sequence
from typing import Any

from trainer.stream.blocks import held_samples
from trainer.stream.config import StreamConfig
from trainer.stream.indexes import MAX_BYTES
from trainer.stream.plan import StreamPlan
from trainer.stream.source import Source

INDEX_ROW = 128
"""Bytes of an index in memory, a sample: six numbers, and a key of up to 76 characters."""


def peak_bytes(
    plan: StreamPlan, sources: Sequence[Source], lanes: int, config: StreamConfig
) -> dict[str, int]:
    """The most that one rank of `lanes` lanes holds, by kind, for samples of mean size.

    Blocks: those open and those on their way. Records: bytes cut out of them for the batches that
    are being made. Images: of these, of the batch in use and the one before it. Indexes.
    """
    depth = plan.batch // plan.lanes
    images = lanes * depth
    blocks = sum(
        lanes * held_samples(order.block, depth) * source.sample_bytes
        for order, source in zip(plan.orders, sources, strict=True)
    )
    largest = max(source.sample_bytes for source in sources)
    return {
        "blocks": math.ceil(blocks),
        "records": math.ceil((config.read_ahead + 1) * images * largest),
        "images": (config.read_ahead + 2) * images * 3 * config.image_size**2,
        "indexes": sum(min(MAX_BYTES, len(source) * INDEX_ROW) for source in sources),
    }


def sources_of(plan: StreamPlan, step: int) -> dict[str, dict[str, Any]]:
    """Each source by name: its samples, share of the stream, block, and epochs before a step."""
    shares = (plan.mixing.weights / plan.mixing.weights.sum()).tolist()
    return {
        order.name: {
            "samples": order.samples,
            "share": share,
            "block": order.block,
            "epochs": step * plan.batch * share / order.samples,
        }
        for order, share in zip(plan.orders, shares, strict=True)
    }
