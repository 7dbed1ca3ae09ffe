"""A record of each run beside the snapshots: `<dataset>/runs/<started>-<job>-<pid>.json`.

Times, hosts and counts: whatever may differ between two runs of the same inputs stands here, and
nowhere else. docs/observability.md has the fields.
"""

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from jobs import metrics
from jobs.console import console
from pipeline.format import address, writing
from pipeline.format.errors import HeadraceError
from pipeline.write.publish import library_versions


@dataclass
class Record:
    """What is known of a run so far."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → wall-clock seconds, of all its turns together."""
    noted: dict[str, Any] = field(default_factory=dict)
    """Further fields."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block, also one that fails, as a stage of the run."""
        begin = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - begin
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
            metrics.count("headrace_stage_seconds", spent, name)

    def note(self, **facts: Any) -> None:
        """Adds fields, which JSON must hold, to the record: `snapshot`, `counts`."""
        self.noted |= facts


_open: ContextVar[Record | None] = ContextVar("record", default=None)


@contextmanager
def recording(job: str, dataset: str, config: BaseModel) -> Iterator[Record]:
    """A record of the block, written to the dataset (a URL) when it ends, however it ends.

    A job that runs within another one adds to that one's record. What ends the block goes on; a
    store that refuses the record is a warning, for the work is done.
    """
    if outer := _open.get():
        yield outer
        return
    record, began, counted = Record(), datetime.now(UTC), metrics.totals()
    outcome = {"outcome": "done"}
    token = _open.set(record)
    try:
        yield record
    except BaseException as error:
        outcome = _ending(error)
        raise
    finally:
        _open.reset(token)
        times = {"started": _told(began), "finished": _told(datetime.now(UTC))}
        found = {"seconds": record.seconds, **record.noted, "metrics": metrics.since(counted)}
        facts = {"job": job, **outcome, **times, **found, **_given(config)}
        when = f"{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03}Z"  # two may begin in a second
        name = f"{when}-{job}-{os.getpid()}.json"
        _write(address.join(dataset, "runs", name), facts)


def _ending(error: BaseException) -> dict[str, str]:
    """Of a job that was stopped, or that failed with what a person was told first."""
    if not isinstance(error, Exception):  # Ctrl-C, or a scheduler's SIGTERM as Ray has it
        return {"outcome": "interrupted"}
    line = next(iter(str(error).splitlines()), "")
    kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
    return {"outcome": "failed", "error": address.redact_words(kind + line)}


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _given(config: BaseModel) -> dict[str, Any]:
    """What the run had to do with."""
    versions = library_versions() | {"ray": version("ray"), "python": platform.python_version()}
    written = _redacted(config.model_dump(mode="json"))
    return {"host": platform.node(), "config": written, "versions": versions}


def _redacted(value: Any) -> Any:
    """A config without credentials: a job that refuses a URL because of them is recorded, too."""
    if isinstance(value, dict):
        return {key: _redacted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one) for one in value]
    return address.redact(value) if isinstance(value, str) else value


def _write(url: str, facts: dict[str, Any]) -> None:
    data = json.dumps(facts, indent=1).encode() + b"\n"
    try:
        writing.publish(url, data)
    except HeadraceError as error:
        console.print(f"warning: no record of this run: {error}", markup=False, soft_wrap=True)
