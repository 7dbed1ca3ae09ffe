"""headrace doctor: is this machine ready, what will be slow, and what to do about it.

`inspect()` looks, `render()` shows, `run()` is the command. Whatever is missing or broken is a
finding: each look has its own guard, and no library is imported before its own look.
"""

import importlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["ok", "note", "problem"]

GIB = 1 << 30
HOME = Path(__file__).resolve().parent.parent
SET_UP = "make setup"

# Ray's object store lies in /dev/shm by default and spills to disk beyond it; a torch DataLoader
# with workers passes its batches through there.
SHM_WANTED = 2 * GIB
# The demo and its Ray session write about 2 GiB.
DISK_WANTED, DISK_NEEDED = 20 * GIB, 3 * GIB

# format, feature of PIL that it needs, what is lost without it
CODECS: tuple[tuple[str, str, State], ...] = (
    ("JPEG", "jpg", "problem"),
    ("PNG", "zlib", "problem"),
    ("WEBP", "webp", "problem"),
    ("TIFF", "libtiff", "note"),
    ("JPEG2000", "jpg_2000", "note"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `what` is so, and `fix` says what to do if that is a gap."""

    topic: str
    state: State
    what: str
    fix: str = ""


def inspect() -> list[Finding]:
    """Look at everything; never raises for something that is missing or broken."""
    return [finding for topic, look in LOOKS for finding in _guarded(topic, look)]


def render(findings: list[Finding], console: "Console") -> None:
    """A table of the findings, the gaps' remedies under them."""
    from rich.table import Table
    from rich.text import Text

    style = {"ok": "green", "note": "yellow", "problem": "bold red"}
    table = Table(title="headrace doctor", title_justify="left", show_lines=False)
    for heading in ("", "topic", "what"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        what = Text(finding.what)
        if finding.fix:
            what.append(f"\n→ {finding.fix}", style="cyan")
        table.add_row(Text(finding.state, style=style[finding.state]), finding.topic, what)
    console.print(table)
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    console.print(f"{problems} problem(s), {notes} note(s)")


def run() -> int:
    """Inspect and show; the exit code is 1 if something must be mended first."""
    findings = inspect()
    try:
        from rich.console import Console
    except ImportError:
        for finding in findings:
            print(f"{finding.state:8} {finding.topic}: {finding.what}  {finding.fix}".rstrip())
    else:
        render(findings, Console())
    return int(any(finding.state == "problem" for finding in findings))


def _guarded(topic: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:
        yield Finding(topic, "problem", f"the look failed: {_line(error)}", SET_UP)


def _import(name: str) -> ModuleType | Finding:
    """The module, or a finding that says why it cannot be had.

    A broken native library may raise anything at import, not only ImportError.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        return Finding(name, "problem", f"does not import: {_line(error)}", SET_UP)


def _line(error: Exception) -> str:
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0]}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


# --- import names ------------------------------------------------------------------------------


def look_at_names() -> Iterator[Finding]:
    """`pipeline`, `trainer` and `jobs` are common names: is each of them ours?"""
    for name in ("pipeline", "trainer", "jobs"):
        ours = (HOME / name).resolve()
        found = _location(name)
        if found != ours:
            yield Finding(
                "import names",
                "problem",
                f"`import {name}` finds {found or 'nothing'}, not {ours}",
                f"take {found.parent} off PYTHONPATH or leave that folder, or uninstall "
                "the package that put it there"
                if found
                else SET_UP,
            )
            continue
        hidden = [str(path) for path in _candidates(name) if path != ours]
        if hidden:
            yield Finding(
                "import names",
                "note",
                f"`import {name}` is ours, and hides {', '.join(hidden)}",
                "harmless here; with another PYTHONPATH or working folder it may win",
            )
        else:
            yield Finding("import names", "ok", f"{name} is {ours}")


def _location(name: str) -> Path | None:
    """What `import name` finds: the folder of a package, or the file of a module."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # put in sys.modules by hand, without a spec
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _candidates(name: str) -> Iterator[Path]:
    for entry in sys.path:
        package = Path(entry or ".") / name
        module = package.with_name(f"{name}.py")
        if (package / "__init__.py").is_file():
            yield package.resolve()
        elif module.is_file():
            yield module.resolve()


# --- images ------------------------------------------------------------------------------------


def look_at_images() -> Iterator[Finding]:
    """Which image library, how fast, and what it decodes."""
    pil = _import("PIL.Image")
    if isinstance(pil, Finding):
        yield pil
        return
    yield image_library(str(pil.__version__), _version("pillow-simd"))
    features = importlib.import_module("PIL.features")
    works: list[str] = []
    for format, feature, state in CODECS:
        why = "" if features.check(feature) else "it was built without"
        why = why or _codec_fault(pil, format)
        if why:
            fix = "HEADRACE_SIMD=0 scripts/setup.sh, for Pillow's own wheel"
            yield Finding("images", state, f"no {format}: {why}", fix)
        else:
            works.append(format)
    turbo = " (libjpeg-turbo)" if features.check_feature("libjpeg_turbo") else ""
    yield Finding("images", "ok", f"reads and writes {', '.join(works)}{turbo}")


def image_library(running: str, simd: str) -> Finding:
    """What `PIL.__version__` says against the version of pillow-simd installed ('' for none)."""
    if simd and running != simd:
        return Finding(
            "images",
            "problem",
            f"pillow-simd {simd} is installed, and Pillow {running} was installed over it",
            "scripts/setup.sh puts it right; install with `pip install -c constraints.txt`",
        )
    if ".post" in running:
        return Finding("images", "ok", f"pillow-simd {running} (SIMD)")
    return Finding(
        "images",
        "note",
        f"Pillow {running}, without SIMD: resizes at a fifth of pillow-simd's speed",
        "scripts/setup.sh builds pillow-simd, or says why it cannot",
    )


def _codec_fault(pil: ModuleType, format: str) -> str:
    """A small picture there and back; '' if it comes back."""
    try:
        buffer = io.BytesIO()
        pil.new("RGB", (32, 24), (200, 40, 90)).save(buffer, format)
        with pil.open(io.BytesIO(buffer.getvalue())) as image:
            image.load()
            return "" if image.size == (32, 24) else "it returns another size"
    except Exception as error:
        return _line(error)


# --- torch -------------------------------------------------------------------------------------


def look_at_torch() -> Iterator[Finding]:
    """The training engine, its accelerator, and the models that score images."""
    torch = _import("torch")
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
        module = _import(name)
        if isinstance(module, Finding):
            yield Finding("torch", "problem", f"{name} {module.what} ({needed_for})", module.fix)
        else:
            yield Finding("torch", "ok", f"{name} {_version(distribution)}")


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


# --- Ray ---------------------------------------------------------------------------------------


def look_at_ray() -> Iterator[Finding]:
    """The engine, its data extra, and what submitting jobs needs."""
    ray = _import("ray")
    if isinstance(ray, Finding):
        yield ray
        return
    yield Finding("ray", "ok", f"ray {ray.__version__}")
    for module, purpose, extra, state in RAY_PARTS:
        got = _import(module)
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


# --- storage -----------------------------------------------------------------------------------


def look_at_storage() -> Iterator[Finding]:
    """Local files and S3, and where S3's credentials come from (never what they are)."""
    fsspec = _import("fsspec")
    if isinstance(fsspec, Finding):
        yield fsspec
        return
    fsspec.get_filesystem_class("file")
    yield Finding("storage", "ok", f"fsspec {fsspec.__version__}: files")
    s3fs = _import("s3fs")
    if isinstance(s3fs, Finding):
        yield Finding("storage", "problem", f"s3:// does not work: {s3fs.what}", SET_UP)
        return
    yield Finding("storage", "ok", f"s3fs {s3fs.__version__}: s3://")
    yield _s3_credentials()


def _s3_credentials() -> Finding:
    source = _credentials_source()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    at = f", endpoint {_without_userinfo(endpoint)}" if endpoint else ""
    if source:
        return Finding("storage", "ok", f"S3 credentials from {source}{at}")
    return Finding(
        "storage",
        "note",
        f"no S3 credentials found{at}",
        "for s3://: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, "
        "or a role of the instance or pod",
    )


def _credentials_source() -> str:
    """Where credentials are to be had, asking no server (so an instance's role is not seen)."""
    env = os.environ
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        return "the environment (AWS_ACCESS_KEY_ID)"
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"
    if env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or env.get(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    ):
        return "the container's role"
    for variable, default in (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        ("AWS_CONFIG_FILE", "~/.aws/config"),
    ):
        path = Path(env.get(variable, default)).expanduser()
        if path.is_file():
            return f"{path} (profile {env.get('AWS_PROFILE', 'default')})"
    return ""


def _without_userinfo(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


# --- the machine -------------------------------------------------------------------------------


def look_at_machine() -> Iterator[Finding]:
    """Room in memory and on disk."""
    shm = Path("/dev/shm")
    if shm.is_dir():
        yield shared_memory(shutil.disk_usage(shm).total)
    elif sys.platform == "linux":
        yield Finding("machine", "note", "no /dev/shm", "mount a tmpfs there")
    yield disk(shutil.disk_usage(Path.cwd()).free, Path.cwd())


def shared_memory(size: int) -> Finding:
    """Of /dev/shm: a container's default of 64 MiB makes Ray spill and DataLoaders die."""
    if size >= SHM_WANTED:
        return Finding("machine", "ok", f"/dev/shm {_gib(size)}")
    return Finding(
        "machine",
        "note",
        f"/dev/shm has only {_gib(size)}: Ray's objects go to disk, DataLoader workers may die",
        "docker run --shm-size=8g; in Kubernetes an emptyDir with medium: Memory",
    )


def disk(free: int, where: Path) -> Finding:
    """Of the working folder, where outputs go by default."""
    what = f"{_gib(free)} free in {where}"
    if free >= DISK_WANTED:
        return Finding("machine", "ok", what)
    state: State = "note" if free >= DISK_NEEDED else "problem"
    return Finding("machine", state, what, f"free some, or work where {_gib(DISK_WANTED)} are free")


LOOKS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("import names", look_at_names),
    ("images", look_at_images),
    ("torch", look_at_torch),
    ("ray", look_at_ray),
    ("storage", look_at_storage),
    ("machine", look_at_machine),
)


if __name__ == "__main__":
    sys.exit(run())
