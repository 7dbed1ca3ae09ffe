"""The making of batches: plan, bytes, pixels, each ahead of the next, in threads.

All of it belongs to one iteration, and ends with it.
"""

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.format import ending
from trainer.stream.augment import Draws, crop_draws
from trainer.stream.batch import Batch, Making, finish
from trainer.stream.blocks import Blocks, Next, next_blocks
from trainer.stream.config import StreamConfig
from trainer.stream.decode import fill
from trainer.stream.order import Array
from trainer.stream.plan import Slots, StreamPlan, part
from trainer.stream.slabs import Slabs
from trainer.stream.source import Source

PLANNED = 4096
"""Samples that are planned at once: a call takes milliseconds, for ten as for thousands."""

TOGETHER = 8
"""Images that one thread decodes in one go: handing over each one alone costs more."""


def batches(
    plan: StreamPlan, sources: Sequence[Source], lanes: Array, config: StreamConfig, first: int
) -> Generator[Batch]:
    """The batches of some lanes from step `first` on, without end.

    Raises HeadraceError where a shard cannot be read: nothing is skipped. No thread outlives it;
    nor is a store waited for that is down, or says nothing.
    """
    ended: Future[None] = Future()
    # One thread keeps the order of the batches; it waits for blocks, never for decoding.
    fetch, read, decode = (
        ThreadPoolExecutor(count, f"stream-{name}", ending.heed, (ended,))
        for name, count in (("fetch", 1), ("read", config.reads), ("decode", config.threads))
    )
    makings = _makings(plan, sources, lanes, config, first, read, decode)
    ahead: deque[Future[Making]] = deque()
    names = [order.name for order in plan.orders]
    try:
        while True:
            while len(ahead) < config.read_ahead:
                ahead.append(fetch.submit(next, makings))
            yield finish(ahead.popleft().result(), names)
    finally:
        ended.set_result(None)
        for pool in (fetch, read, decode):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (fetch, read, decode):
            pool.shutdown()


def _makings(
    plan: StreamPlan,
    sources: Sequence[Source],
    lanes: Array,
    config: StreamConfig,
    first: int,
    read: ThreadPoolExecutor,
    decode: ThreadPoolExecutor,
) -> Iterator[Making]:
    """Each step's bytes, their decoding set going."""
    blocks = Blocks(sources, read)
    size = config.image_size
    shape = (len(lanes) * config.batch // config.lanes, size, size, 3)
    slabs = Slabs(shape, config.read_ahead + 1)
    for slots, draws, following in _planned(plan, lanes, config, first):
        planned = blocks.planned(slots)
        fetched = time.monotonic()
        blocks.ask(following)
        images = slabs.take()
        parts = [
            decode.submit(
                fill, images[some], planned[some], draws[some], config.seed, config.augment
            )
            for some in (slice(at, at + TOGETHER) for at in range(0, len(planned), TOGETHER))
        ]
        yield Making(slots, images, parts, fetched)


def _planned(
    plan: StreamPlan, lanes: Array, config: StreamConfig, first: int
) -> Iterator[tuple[Slots, Draws, list[Next]]]:
    """What each step holds, how it is cropped, and the blocks to ask for in its course."""
    names = [order.name for order in plan.orders]
    depth = len(lanes) * config.batch // config.lanes
    steps, step = max(1, PLANNED // depth), first
    while True:
        slots = plan.slots(step, lanes, steps)
        draws = crop_draws(slots, names, config.seed)
        following = next_blocks(slots, plan.orders, lanes, fresh=step == first)
        for at in range(0, steps * depth, depth):
            mine = slice(at, at + depth)
            asked = [one for one in following if at <= one.row < at + depth]
            yield part(slots, mine), draws[mine], asked
        step += steps
