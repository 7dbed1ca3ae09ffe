"""The image library and its codecs."""

import importlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Iterator
from types import ModuleType

from jobs.looks.finding import (
    Finding,
    State,
    first_line,
    import_or_finding,
    version_of,
)

# format, feature of PIL that it needs, what is lost without it
CODECS: tuple[tuple[str, str, State], ...] = (
    ("JPEG", "jpg", "problem"),
    ("PNG", "zlib", "problem"),
    ("WEBP", "webp", "problem"),
    ("TIFF", "libtiff", "note"),
    ("JPEG2000", "jpg_2000", "note"),
)


def look_at_images() -> Iterator[Finding]:
    """Which image library, how fast, and what it decodes."""
    pil = import_or_finding("PIL.Image")
    if isinstance(pil, Finding):
        yield pil
        return
    yield image_library(str(pil.__version__), version_of("pillow-simd"))
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
        return first_line(error)
