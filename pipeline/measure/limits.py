"""What one image may take of a process before its decoder counts as gone astray."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

SECONDS = 30
"""Time for one image in careful mode. The largest allowed, 64 million pixels, takes about 3 s on
one core, so a decoder is given ten times what the worst honest image needs."""

BYTES_PER_PIXEL = 32
"""Memory for one pixel, all copies together. 12 bytes is the most that a good image was seen to
need, a PNG with alpha that is to be turned: Pillow holds 4 bytes a pixel, and each step a copy."""

BASE_BYTES = 512_000_000
"""Memory beside the pixels: the language model, libraries loaded late, the rows of the part."""

STATM = Path("/proc/self/statm")


def memory(max_bytes: int, max_pixels: int) -> int:
    """Bytes that a process may take, beside what it holds, while it decodes one image at a time.

    2.7 GB with the default limits. `max_pixels` and `max_bytes` set it: to run many workers on a
    small machine, lower those.
    """
    return BASE_BYTES + 2 * max_bytes + BYTES_PER_PIXEL * max_pixels


@contextlib.contextmanager
def memory_limit(nbytes: int) -> Iterator[None]:
    """Inside the block, this process gets at most `nbytes` more; allocations beyond them fail.

    Only where the system tells what a process holds (Linux); elsewhere nothing is limited.
    """
    if not STATM.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _held() + nbytes
    limits = [limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held() -> int:
    """Bytes of private memory, as RLIMIT_DATA counts them."""
    return int(STATM.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
