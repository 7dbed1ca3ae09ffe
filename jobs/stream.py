"""`headrace stream`: what a run will be fed, by arithmetic; and whether two were fed the same."""

import json
from typing import Any

import numpy as np

from pipeline.format import address, store
from trainer import checkpoint, proof
from trainer.config import TrainConfig
from trainer.stream.describe import told
from trainer.stream.mixing import Mixing
from trainer.stream.plan import Slots
from trainer.stream.stream import Stream


def plan(config: TrainConfig, steps: int, first: int | None, ranks: int) -> dict[str, Any]:
    """The next `steps` steps over all ranks, and what a rank needs. Reads manifests alone.

    `first` defaults to where the run's newest checkpoint would go on. Raises HeadraceError if a
    source cannot be opened.
    """
    begin = _next_step(config) if first is None else first
    # The last rank has the most lanes.
    with Stream(config.mixture, config.stream, ranks - 1, ranks) as stream:
        mixing, lanes = stream.plan.mixing, np.arange(config.stream.lanes)
        described = stream.describe()
        return {
            "batch": config.stream.batch,
            "ranks": ranks,
            "steps": [
                _step(step, stream.plan.slots(step, lanes), stream.names)
                for step in range(begin, begin + steps)
            ],
            "shares": _shares(mixing, stream.names, (begin + steps) * config.stream.batch),
            "worst_error": described["worst_error"],
            "peak_bytes": described["peak_bytes"],
        }


def _next_step(config: TrainConfig) -> int:
    newest = checkpoint.newest(config.where)
    return checkpoint.read_state(newest)["stream"]["step"] if newest else 0


def _step(step: int, slots: Slots, names: list[str]) -> dict[str, Any]:
    """One step: of each source its samples, their epochs, and the blocks they begin."""
    places = slots.places
    begins = places.left == places.block_length - 1
    sources = {
        name: {
            "samples": int(mine.sum()),
            "epochs": np.unique(places.epoch[mine]).tolist(),
            "blocks": int((mine & begins).sum()),
        }
        for name, mine in ((name, slots.source == n) for n, name in enumerate(names))
    }
    return {"step": step, "sources": sources}


def _shares(mixing: Mixing, names: list[str], samples: int) -> dict[str, dict[str, float]]:
    """What was drawn of each source in the first `samples` samples, beside its ratio."""
    lanes = np.arange(mixing.lanes)
    slot = np.full_like(lanes, samples // mixing.lanes)
    drawn = [
        int(mixing.taken(np.full_like(lanes, n), lanes, slot).sum()) for n in range(len(names))
    ]
    ratios = (mixing.weights / mixing.weights.sum()).tolist()
    return {
        name: {"drawn": count, "share": count / max(samples, 1), "ratio": ratio}
        for name, count, ratio in zip(names, drawn, ratios, strict=True)
    }


def plan_lines(planned: dict[str, Any]) -> list[str]:
    """A plan as a person reads it."""
    names = list(planned["shares"])
    lines = ["step        " + "".join(f"{name:<32}" for name in names).rstrip()]
    for step in planned["steps"]:
        cells = "".join(f"{_cell(step['sources'][name]):<32}" for name in names)
        lines.append(f"{step['step']:<12}{cells}".rstrip())
    for name, share in planned["shares"].items():
        lines.append(
            f"{name}: {share['drawn']:,} drawn by then, {share['share']:.4%}; "
            f"its ratio is {share['ratio']:.4%}"
        )
    return [*lines, *told(planned, planned["ranks"])]


def _cell(source: dict[str, Any]) -> str:
    if not source["samples"]:
        return "none"
    first, last = source["epochs"][0], source["epochs"][-1]
    epochs = f"epoch {first}" if first == last else f"epochs {first}-{last}"
    return f"{source['samples']}, {epochs}, opens {source['blocks']}"


def verify(left: str, right: str) -> tuple[bool, list[str]]:
    """Whether two runs were fed the same, and in words where they part, and what differs in them.

    Raises HeadraceError if a folder holds no proof.
    """
    proofs = [proof.read(run) for run in (left, right)]
    step = proof.first_difference(*proofs)
    if step is not None:
        digests = (proof.digest_of(lines, step) for lines in proofs)
        what = f"step {step} is the first that differs: {' and '.join(digests)}"
        return False, [what, *_config_differences(left, right)]
    ends = [len(lines) for lines in proofs]
    if ends[0] != ends[1]:
        shorter = left if ends[0] < ends[1] else right
        what = f"equal until {shorter} ends, after {min(ends)} steps; the other has {max(ends)}"
        return False, [what, *_config_differences(left, right)]
    return True, [f"equal: {ends[0]} steps"]


def _config_differences(left: str, right: str) -> list[str]:
    """Fields of the two configs that differ. The folder itself always does."""
    was, now = _flat(_config(left)), _flat(_config(right))
    return [
        f"{name}: {was.get(name, 'absent')} and {now.get(name, 'absent')}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name) and name != "run"
    ]


def _config(run: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(
        store.read_bytes(address.join(address.absolute(run), "config.json"))
    )
    return fields


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        flat.update(inner or {prefix + name: value})
    return flat
