"""From the stream to the device: pinned memory, and a copy that no step waits for."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from trainer.stream.batch import Batch


def to_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches with their images on `device`; on a CPU the very same ones.

    For a GPU each is asked for one step early and copied beside the step before it. What was
    trained on is therefore what was yielded here, not how far `batches` is.
    """
    if device.type != "cuda":
        yield from batches
        return
    copying = torch.cuda.Stream(device)
    ahead: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        following = _copy(batch, device, copying)
        if ahead:
            yield _arrived(*ahead)
        ahead = following
    if ahead:
        yield _arrived(*ahead)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device: a GPU is not waited for, which only pinned memory allows."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _copy(
    batch: Batch, device: torch.device, copying: torch.cuda.Stream
) -> tuple[Batch, torch.cuda.Event]:
    """Sets a copy going; torch keeps the pinned memory until it is done."""
    with torch.cuda.stream(copying):
        images = batch.images.pin_memory().to(device, non_blocking=True)
        return replace(batch, images=images), copying.record_event()


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """The batch for the current stream of the device, which waits for the copy; Python does not."""
    current = torch.cuda.current_stream(batch.images.device)
    current.wait_event(copied)
    batch.images.record_stream(current)  # or the memory would be given away once it is dropped
    return batch
