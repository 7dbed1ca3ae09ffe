"""From the weights of a run back to the images: checkpoints, code, mixture, snapshots, pool.

<run>/origin.json                          the code and the sources that it began with
<checkpoints>/<step>/COMPLETE              written last: step, what was delivered
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.format import address, mixture, store
from pipeline.format.errors import HeadraceError
from pipeline.report import exports
from pipeline.report.ancestry import Ancestry, trace
from pipeline.report.evaluations import Evaluation
from pipeline.report.exports import Export
from pipeline.report.folder import Line

SOURCES, CHECKPOINTS = 50, 20
"""Most that are followed back; of checkpoints the newest."""


@dataclass(frozen=True)
class Checkpoint:
    """One folder of weights."""

    step: int
    complete: bool
    digest: str
    """Of all that was delivered to the run until then; empty if it is not told."""


@dataclass(frozen=True)
class Lineage:
    """All that a run's weights come from, and what was made of them."""

    origin: dict[str, Any]
    """As origin.json has it; empty where there is none."""
    sources: tuple[Ancestry, ...]
    more: int
    """Sources that are not followed back."""
    where: str
    """Folder of the checkpoints."""
    checkpoints: tuple[Checkpoint, ...]
    exports: tuple[Export, ...]
    """Those of this run that were found."""
    delivered: frozenset[tuple[int, str]]
    """Steps, with the digest of all that was delivered until then, as far as they are told."""
    troubles: tuple[str, ...]


def read(
    run: str, config: Mapping[str, Any], lines: Sequence[Line], found: Iterable[Evaluation]
) -> Lineage:
    """Follows the run at a URL back, and on to the exports that its folder or evaluations name."""
    troubles: list[str] = []
    origin = _json(address.join(run, "origin.json"), troubles)
    drawn: dict[str, int] = next((line["drawn"] for line in reversed(lines) if "drawn" in line), {})
    told = _sources(config, origin, troubles)
    where = str(config.get("checkpoints") or address.join(run, "checkpoints"))
    checkpoints = _checkpoints(where, troubles)
    delivered = {(line["step"], line["digest"]) for line in lines if "digest" in line}
    delivered |= {(one.step, one.digest) for one in checkpoints if one.digest}
    return Lineage(
        origin=origin,
        sources=tuple(trace(name, told[name], drawn.get(name)) for name in list(told)[:SOURCES]),
        more=max(len(told) - SOURCES, 0),
        where=where,
        checkpoints=checkpoints,
        exports=exports.find(run, config, delivered, found),
        delivered=frozenset(delivered),
        troubles=tuple(troubles),
    )


def _json(url: str, troubles: list[str]) -> dict[str, Any]:
    """An object; empty, and the reason among the troubles, if it cannot be read."""
    try:
        value = json.loads(store.read_bytes(url))
    except HeadraceError as error:
        troubles.append(str(error))
        return {}
    except ValueError as error:
        troubles.append(f"{url}: no JSON: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _sources(
    config: Mapping[str, Any], origin: Mapping[str, Any], troubles: list[str]
) -> dict[str, dict[str, Any]]:
    """Name → url, samples, weight: as the run began with them, else as its mixture says now."""
    begun, now = origin.get("sources") or {}, _mixed(config, troubles)
    if not (isinstance(begun, dict) and all(isinstance(one, dict) for one in begun.values())):
        troubles.append("origin.json: `sources` is not as headrace writes it")
        begun = {}
    if not (begun and now):
        return begun or now
    if begun.keys() != now.keys() or any(_moved(begun[name], now[name]) for name in begun):
        troubles.append(
            f"{config['mixture']}: names other data now than the run began with, which is shown"
        )
    return dict(begun)


def _moved(begun: dict[str, Any], now: dict[str, Any]) -> bool:
    """Of a list of tars, the mixture names the list and the run what is in it: that is no move."""
    return "/snapshots/" in now["url"] and begun.get("url") != now["url"]


def _mixed(config: Mapping[str, Any], troubles: list[str]) -> dict[str, dict[str, Any]]:
    if not isinstance(url := config.get("mixture"), str):
        return {}
    try:
        sources = mixture.read_mixture(url).sources
    except HeadraceError as error:
        troubles.append(f"the mixture cannot be read any more: {error}")
        return {}
    return {
        one.name: {"url": one.snapshot, "samples": one.samples, "weight": one.weight}
        for one in sources
    }


def _checkpoints(where: str, troubles: list[str]) -> tuple[Checkpoint, ...]:
    try:
        names = store.names(where)
    except HeadraceError as error:
        troubles.append(f"the checkpoints cannot be listed: {error}")
        return ()
    steps = sorted(int(name) for name in names if name.isdecimal())[-CHECKPOINTS:]
    return tuple(_checkpoint(where, step, troubles) for step in steps)


def _checkpoint(where: str, step: int, troubles: list[str]) -> Checkpoint:
    marker = address.join(where, f"{step:08d}", "COMPLETE")
    if not store.exists(marker):
        return Checkpoint(step, False, "")
    delivered = _json(marker, troubles).get("delivered")
    digest = delivered.get("digest", "") if isinstance(delivered, dict) else ""
    return Checkpoint(step, True, str(digest))
