"""The files that a run's own folder is known by. The trainer is not imported.

<run>/config.json      the config it was started with, or went on with last
<run>/metrics.jsonl    one JSON object a line
"""

import json
from collections.abc import Callable
from typing import Any

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError

LOG = "metrics.jsonl"

Line = dict[str, Any]


def is_run(folder: str) -> bool:
    """Whether a training was begun in the folder: its log is there."""
    return store.exists(address.join(address.absolute(folder), LOG))


def read_config(url: str) -> dict[str, Any]:
    """What a run was told last. Raises HeadraceError if it is not there."""
    return _json(address.join(url, "config.json"), _object)


def read_log(url: str) -> list[Line]:
    """All whole lines of the log: one that a kill cut short has no end of line."""
    return _json(
        address.join(url, LOG),
        lambda data: [_object(line, "step") for line in data.split(b"\n")[:-1]],
    )


def _object(data: bytes, *fields: str) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict) or not value.keys() >= set(fields):
        raise ValueError(f"not an object with {', '.join(fields) or 'fields'}")
    return value


def _json(url: str, parse: Callable[[bytes], Any]) -> Any:
    if not store.exists(url):
        folder, _, name = url.rpartition("/")
        raise HeadraceError(
            f"{folder}: not the folder of a training run: there is no {name} in it; "
            "give the folder that `run` names in the training config"
        )
    try:
        return parse(store.read_bytes(url))
    except ValueError as error:
        raise HeadraceError(f"{url}: not written by headrace: {error}") from error
