"""Makes Pillow's decoders as dangerous as decoders are, in every process that has this folder on
PYTHONPATH: bytes that `tests/pipeline/dying.py` makes end or stop the process that opens them."""

import os
import signal
import time

from PIL import Image

_open = Image.open


def _opened(file, *rest, **options):
    start = file.read(32)
    file.seek(0)
    if start.startswith(b"DIES:"):
        _die(start[5:].partition(b"\n")[0].decode())
    return _open(file, *rest, **options)


def _die(how: str) -> None:
    if how.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[how])
    elif how == "EXIT":
        os._exit(3)
    elif how == "HANG":
        time.sleep(100_000)
    elif how == "SPIN":
        while True:
            pass
    elif how == "GROW":
        held = []
        while True:
            held.append(bytearray(64_000_000))


Image.open = _opened
