"""The log of a run: one JSON object a line, `metrics.jsonl`."""

import json
from pathlib import Path
from typing import Any

from pipeline.format import writing
from trainer.append import append, to_append


class Metrics:
    """Appends to a run's log; `step` is the number of finished steps a line speaks of."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        """Opens the log, and forgets what a killed run wrote after its last checkpoint."""
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= resumed_at]
        writing.publish(str(path), "".join(kept).encode())
        self.file = to_append(path)

    def write(self, **line: Any) -> None:
        """Adds a line. Raises HeadraceError if the disk is full."""
        append(self.file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; none if there is no log. A line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
