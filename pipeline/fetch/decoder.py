"""Downloaded bytes become pictures in a process of their own: what kills it costs one row."""

import json
from dataclasses import asdict
from functools import partial

from pipeline.fetch.picture import Picture, prepare
from pipeline.format.images import OUT_OF_MEMORY, ImageError
from pipeline.measure import limits
from pipeline.measure.isolation import Children, Work


def decoders(
    resize: int | None, max_pixels: int, max_bytes: int, seconds: float = limits.SECONDS
) -> Children:
    """Processes for `prepare_apart`, in which an image may take `seconds` and `limits.memory`."""
    begin = partial(_begin, resize, max_pixels)
    return Children(begin, limits.memory(max_bytes, max_pixels), seconds)


def prepare_apart(data: bytes, children: Children) -> Picture:
    """What `prepare` makes of some bytes. Raises ImageError, also for what ends a process."""
    answer = children.ask(data)
    if isinstance(answer, str):
        raise ImageError(answer)
    told, _, kept = answer.partition(b"\n")
    fields = json.loads(told)
    if "error" in fields:
        raise ImageError(fields["error"])
    return Picture(data=kept, **fields)


def _begin(resize: int | None, max_pixels: int) -> Work:
    return partial(_answer, resize, max_pixels)


def _answer(resize: int | None, max_pixels: int, data: bytes) -> bytes:
    """A line of JSON, which is all but the picture's bytes or the error; then the bytes."""
    try:
        picture = prepare(data, resize, max_pixels)
    except ImageError as error:
        reason = str(error)
    except MemoryError:
        reason = OUT_OF_MEMORY
    except Exception as error:  # a fault of ours that one image in a billion finds
        reason = f"preparing_failed: {type(error).__name__}"
    else:
        fields = asdict(picture)
        kept = fields.pop("data")
        return json.dumps(fields).encode() + b"\n" + kept
    return json.dumps({"error": reason}).encode()
