"""The log of a run: one JSON object a line, `metrics.jsonl`. docs/metrics.md has its fields."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.format import writing
from trainer.append import append, to_append


class Metrics:
    """Appends to a run's log; `step` is the number of finished steps a line speaks of."""

    def __init__(self, path: Path, keeps: Callable[[dict[str, Any]], bool]) -> None:
        """Opens the log, and forgets what a killed run wrote after its last checkpoint.

        `keeps` says of a line whether it speaks of what came before.
        """
        kept = [_encode(line) for line in read(path) if keeps(line)]
        writing.publish(str(path), b"".join(kept))
        self.file = to_append(path)

    def write(self, **line: Any) -> None:
        """Adds a line; a number that is not finite is null. Raises HeadraceError on a full disk."""
        append(self.file, _encode(line))

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


def _encode(line: dict[str, Any]) -> bytes:
    return json.dumps(_finite(line), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity, and few readers of it forgive them."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; none if there is no log. A line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
