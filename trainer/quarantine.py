"""The damaged samples that a run met: `<run>/quarantine.jsonl`, one JSON object a sample.

A set in the order of first sight, which is that of the plan: the file is the same on any number
of ranks and after any kill.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.format import writing
from trainer import metrics
from trainer.append import append, to_append
from trainer.stream.bad import Bad

NAME = "quarantine.jsonl"


class Quarantine:
    """Adds to a run's list what is not on it."""

    def __init__(self, path: Path, steps: int) -> None:
        """Opens the list of a run that begins after `steps` steps, with what it met in them.

        From step 0 the list is new: an earlier attempt may have read other sources.
        """
        lines = metrics.read(path) if steps else []
        writing.publish(str(path), "".join(map(_text, lines)).encode())  # without a line cut short
        self.known = {(line["source"], line["sample"]) for line in lines}
        self.file = to_append(path)

    def add(self, found: Iterable[Bad]) -> None:
        """Puts new samples on the list. Raises HeadraceError if the disk is full."""
        lines = []
        for bad in found:
            if (bad.source, bad.sample) not in self.known:
                self.known.add((bad.source, bad.sample))
                lines.append(_text(_line(bad)))
        append(self.file, "".join(lines).encode())

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _line(bad: Bad) -> dict[str, Any]:
    """What is true of the sample wherever it is drawn: not its step, nor what stood in for it."""
    return {
        "source": bad.source,
        "sample": bad.sample,
        "url": bad.url,
        "key": bad.key,
        "offset": bad.offset,
        "reason": bad.reason,
    }


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line) + "\n"
