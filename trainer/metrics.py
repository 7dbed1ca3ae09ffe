"""The log of a run: one JSON object a line, `metrics.jsonl`."""

import json
from pathlib import Path
from typing import Any

from pipeline.format import store


class Metrics:
    """Appends to a run's log; `step` is the number of finished steps a line speaks of."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        """Opens the log, and forgets what a killed run wrote after its last checkpoint."""
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= resumed_at]
        store.publish(str(path), "".join(kept).encode())
        self.file = path.open("a", encoding="utf-8")

    def write(self, **line: Any) -> None:
        """Adds a line, readable by others at once."""
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; none if there is no log. A line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
