"""What a stream will be and hold, told before it starts. Arithmetic: nothing is read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.stream.blocks import held_samples
from trainer.stream.config import StreamConfig
from trainer.stream.indexes import MAX_BYTES
from trainer.stream.plan import StreamPlan
from trainer.stream.source import Source

INDEX_ROW = 128
"""Bytes of an index in memory, a sample: six numbers, and a key of up to 76 characters."""

FAR = 5
"""Samples that a source may be from its share: DESIGN's promise for round ratios."""


def peak_bytes(
    plan: StreamPlan, sources: Sequence[Source], lanes: int, config: StreamConfig
) -> dict[str, int]:
    """The most that one rank of `lanes` lanes holds, by kind, for samples of mean size.

    Blocks: those open and those on their way. Reads: blocks under way are there twice, as pieces
    and whole, or leave as much behind. Records: bytes cut out of blocks for the batches that are
    being made. Images: of these, of the batch in use and the one before it. Indexes.
    """
    depth = plan.batch // plan.lanes
    images = lanes * depth
    kinds = [
        (order.block, source.sample_bytes)
        for order, source in zip(plan.orders, sources, strict=True)
    ]
    held = lanes * sum(held_samples(block, depth) * nbytes for block, nbytes in kinds)
    reads = min(config.reads, lanes * len(sources)) * max(block * nbytes for block, nbytes in kinds)
    records = (config.read_ahead + 1) * images * max(nbytes for _, nbytes in kinds)
    return {
        "blocks": math.ceil(held),
        "reads": math.ceil(reads),
        "records": math.ceil(records),
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


def told(described: Mapping[str, Any], ranks: int) -> list[str]:
    """What all should see before a run starts: how well the ratio is kept, and the memory.

    Of `Stream.describe` on the last of the ranks, which has the most lanes.
    """
    worst, held = described["worst_error"], described["peak_bytes"]
    ratio = f"no source is ever further from its ratio than {worst:g} samples"
    if worst >= FAR:
        ratio += "; rounder ratios, or another number of lanes, keep closer"
    parts = ", ".join(f"{kind} {nbytes / 1e6:,.1f}" for kind, nbytes in held.items())
    total = sum(held.values()) / 1e6
    return [ratio, f"the stream holds at most {total:,.1f} MB on each of {ranks} ranks: {parts}"]
