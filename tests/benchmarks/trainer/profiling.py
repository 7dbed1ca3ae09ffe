"""Where the time of a step goes, by the kind of kernel, and whether Python waits in it."""

import re
import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.trainer.timing import finish

KINDS = {
    "attention": r"flash|fmha|sdpa|scaled_dot|attention|softmax",
    "products": r"gemm|cutlass|nvjet|xmma|cublas|wgmma|convolution|conv2d|triton_tem|mm\b|matmul",
    "optimiser and clip": r"adam|multi_tensor|foreach",
    "copies and casts": r"copy|memcpy|memset|fill|_to_copy|::to\b|cat\b|contiguous|index",
    "compiled, not products": r"triton",
}
"""By what stands in a kernel's name; the first that fits."""


def shares(step: Callable[[], object], device: torch.device, steps: int = 3) -> dict[str, float]:
    """Shares of the time that the device was busy, largest first; on a CPU of its operators.

    `other` is eager pointwise work: norms, GELUs, the loss.
    """
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    finish(device)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        finish(device)
    times: Counter[str] = Counter()
    # On a GPU, of kernels alone: operators and marked regions have the same time again.
    for event in profiler.key_averages():
        if device.type == "cpu":
            times[kind(event.key)] += event.self_cpu_time_total
        elif event.device_type.name == "CUDA" and not event.is_user_annotation:
            times[kind(event.key)] += event.self_device_time_total
    total = sum(times.values()) or 1
    return {name: round(time / total, 4) for name, time in times.most_common()}


def host_waits(step: Callable[[], object], device: torch.device) -> int | None:
    """How often Python waited for the device in a step (torch's sync debug mode); not on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(one.message) for one in said)


def kind(kernel: str) -> str:
    """One of `KINDS`, or `other`."""
    fits = (name for name, words in KINDS.items() if re.search(words, kernel, re.IGNORECASE))
    return next(fits, "other")
