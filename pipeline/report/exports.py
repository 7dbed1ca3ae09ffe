"""Weights of a run in files, wherever they lie, and which evaluations are of them.

<export>/config.json    `training`: step, digest, settings; `files`: their sha256
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.report.evaluations import Evaluation


@dataclass(frozen=True)
class Export:
    """Weights in files, as their config.json tells."""

    url: str
    step: int | None
    digest: str
    files: dict[str, str]
    """Name → sha256."""
    settings: dict[str, Any]
    """What the run was told, as far as an export repeats it."""


def find(
    run: str,
    config: Mapping[str, Any],
    delivered: Collection[tuple[int, str]],
    found: Iterable[Evaluation],
) -> tuple[Export, ...]:
    """Those of this run that lie in its folder, or whose weights were evaluated.

    `delivered` are steps of the run with the digest of what it was fed until then.
    """
    named = [one.where for one in found if one.where]
    inside = [address.join(run, name) for name in sorted(store.names(run))]
    read = (_export(url) for url in dict.fromkeys([*inside, *named]))
    return tuple(
        one
        for one in read
        if one and (one.step, one.digest) in delivered and _is_told_alike(one.settings, config)
    )


def _is_told_alike(settings: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Runs of one sweep may be fed the same images: what else makes weights must agree, too."""
    return all(
        settings.get(name) == config.get(name) for name in ("seed", "objective", "optimiser")
    )


def _export(url: str) -> Export | None:
    """None if there is none, whatever else may lie there."""
    try:
        config = address.join(address.absolute(url), "config.json")
        fields = json.loads(store.read_bytes(config)) if store.exists(config) else {}
        files = {name: str(one["sha256"]) for name, one in fields["files"].items()}
        training = fields.get("training") or {}
        digest = str(training.get("digest", ""))
        return Export(url, training.get("step"), digest, files, dict(training))
    except (HeadraceError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_of(evaluation: Evaluation, run: str, exports: Iterable[Export]) -> bool:
    """Whether it judged weights of the run at this URL: from its folder, or exported from it."""
    folders = [run, *(address.absolute(one.url) for one in exports)]
    return any(_lies_in(evaluation.where, folder) for folder in folders)


def _lies_in(where: str, folder: str) -> bool:
    """Whether a path or URL is that of the folder, or of something in it."""
    try:
        return bool(where) and f"{address.absolute(where)}/".startswith(f"{folder}/")
    except HeadraceError:
        return False
