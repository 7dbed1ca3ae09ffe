"""torch and Ray, and what they run on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.looks.finding import (
    Finding,
    State,
    import_or_finding,
    version_of,
)


def look_at_torch() -> Iterator[Finding]:
    """The training engine, its accelerator, and the models that score images."""
    torch = import_or_finding("torch")
    if isinstance(torch, Finding):
        yield torch
        return
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} processors"
    yield Finding("torch", "ok", f"torch {torch.__version__}, {threads}")
    yield _accelerator(torch)
    for name, distribution, needed_for in (
        ("torchvision", "torchvision", "open_clip cannot be imported without it"),
        ("open_clip", "open-clip-torch", "no CLIP or DFN scores without it"),
    ):
        module = import_or_finding(name)
        if isinstance(module, Finding):
            yield Finding("torch", "problem", f"{name} {module.what} ({needed_for})", module.fix)
        else:
            yield Finding("torch", "ok", f"{name} {version_of(distribution)}")


def _accelerator(torch: Any) -> Finding:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        kinds = ", ".join(f"{names.count(n)} x {n}" for n in dict.fromkeys(names))
        return Finding("torch", "ok", f"CUDA {torch.version.cuda}: {kinds}")
    if torch.backends.mps.is_available():
        return Finding("torch", "ok", "Apple MPS")
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return Finding(
            "torch",
            "problem",
            f"an NVIDIA GPU is here, but torch (for CUDA {torch.version.cuda}) cannot use it",
            "compare the driver's CUDA version in `nvidia-smi`; in a container: --gpus all",
        )
    return Finding(
        "torch",
        "note",
        "no accelerator",
        "curating and small training work on the processor; AIM at full size needs GPUs",
    )


def look_at_ray() -> Iterator[Finding]:
    """The engine, its data extra, and what submitting jobs needs."""
    ray = import_or_finding("ray")
    if isinstance(ray, Finding):
        yield ray
        return
    yield Finding("ray", "ok", f"ray {ray.__version__}")
    for module, purpose, extra, state in RAY_PARTS:
        got = import_or_finding(module)
        if isinstance(got, Finding):
            what = f"{purpose}: {module} {got.what}"
            yield Finding("ray", state, what, f'pip install -c constraints.txt "ray[{extra}]"')
        else:
            yield Finding("ray", "ok", f"{purpose} is there")


RAY_PARTS: tuple[tuple[str, str, str, State], ...] = (
    ("ray.data", "Ray Data", "data", "problem"),
    ("ray.job_submission", "job submission", "default", "note"),
    ("ray.dashboard.optional_deps", "the dashboard", "default", "note"),
)
