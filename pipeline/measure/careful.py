"""Careful mode: a part's images are measured in a child process, which may die without harm.

Workers measure at full speed in their own process. A part whose worker died, hung or outgrew its
memory is measured again here. What kills a child that has seen no other image becomes a row with
the reason. Whatever can be measured has the row of the fast way, to the byte.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline import ledger
from pipeline.format.images import OUT_OF_MEMORY
from pipeline.measure import image, limits
from pipeline.measure.image import ImageConfig
from pipeline.measure.isolation import Children
from pipeline.pool import source
from pipeline.pool.sample import Part, PoolImage

KINDS = ("decoder_died", "decoder_hung", OUT_OF_MEMORY.partition(":")[0], "measuring_failed")
"""Errors that mean a sample was isolated."""


def measure_part_carefully(
    part: Part, config: ImageConfig, seconds: float = limits.SECONDS
) -> pa.Table:
    """One row of IMAGE_SCHEMA for each pool image of the part, in order.

    An image that ends its process has the `error` `decoder_died: signal SIGSEGV`, one that takes
    over `seconds` is `decoder_hung`, one that needs more than `limits.memory` is
    `decoder_out_of_memory`, and one that makes our own code raise is `measuring_failed`. Raises
    HeadraceError if the store fails.
    """
    nbytes = limits.memory(config.max_bytes, config.max_pixels)
    with contextlib.closing(Children(partial(_begin, config), nbytes, seconds)) as children:
        rows = [_asked(image, config, children) for image in source.read(part, config.max_bytes)]
    return pa.concat_tables([ledger.IMAGE_SCHEMA.empty_table(), *rows]).combine_chunks()


def isolated(table: pa.Table) -> list[str]:
    """The errors, in order, of rows whose image had to be kept away from the others."""
    errors = table["error"].to_pylist()
    return [error for error in errors if error and error.partition(":")[0] in KINDS]


def _asked(whole: PoolImage, config: ImageConfig, children: Children) -> pa.Table:
    """The row of an image, or the most of it that can be had without dying."""
    answer = children.ask(whole, harmless=not whole.image)
    if isinstance(answer, str):
        answer = children.ask(replace(whole, image=b"", error=answer), harmless=True)
    if isinstance(answer, str):  # it was not the image, then, but the texts beside it
        place = replace(whole, image=b"", caption="", meta={}, error=answer)
        return _as_table(image.facts(place, config))
    return pa.ipc.open_stream(answer).read_all()


def _begin(config: ImageConfig) -> Callable[[PoolImage], pa.Buffer]:
    """What a child does with an image."""
    image.facts(_NOTHING, config)  # loads the language model
    return partial(_answer, config)


_NOTHING = PoolImage("", "", 0, 0, "", caption="a few words", error="none")


def _answer(config: ImageConfig, shown: PoolImage) -> pa.Buffer:
    table, sink = _as_table(_row(shown, config)), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _row(shown: PoolImage, config: ImageConfig) -> dict[str, Any]:
    try:
        return image.facts(shown, config)
    except MemoryError:
        reason = OUT_OF_MEMORY
    except Exception as error:  # a fault of ours that one image in a billion finds
        reason = f"measuring_failed: {type(error).__name__}"
    return image.facts(replace(shown, image=b"", error=reason), config)


def _as_table(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=ledger.IMAGE_SCHEMA)
