"""The most memory that this process held."""

import resource
import sys

import torch

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in a unit of `ru_maxrss` (getrusage(2))."""


def peak_gb(device: torch.device) -> float:
    """GB (1e9 bytes): on a GPU the most that tensors held since the last call, on a CPU the most
    that the process ever had resident. Waits for no device.
    """
    if device.type != "cuda":
        return _gb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT)
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return _gb(peak)


def _gb(nbytes: int) -> float:
    return round(nbytes / 1e9, 3)
