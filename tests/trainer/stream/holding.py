"""A process that reads a stream, and prints the bytes it was said to hold and those it held.

python -m tests.trainer.stream.holding <tars> <config as JSON> <steps>
"""

import itertools
import sys
from pathlib import Path

from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

SMALL = StreamConfig(batch=1, lanes=1, image_size=8, block=1, threads=1, reads=1, read_ahead=1)


def memory(name: str) -> int:
    """Bytes of this process, as the system counts them."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(line[1]) * 1024 for line in lines if line[0] == f"{name}:")


def main(tars: str, config: str, steps: str) -> None:
    """What code takes that only a first batch loads does not count."""
    next(iter(Stream(tars, SMALL)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = memory("VmRSS")
    with Stream(tars, StreamConfig.model_validate_json(config)) as stream:
        for _ in itertools.islice(stream, int(steps)):
            pass
        print(sum(stream.describe()["peak_bytes"].values()), memory("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
