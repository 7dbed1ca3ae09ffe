"""A line of the log as a person reads it: some 160 columns at most."""

import math
from typing import Any

from trainer.pace import data_wait

NAMED = 3
"""Sources whose shares are shown; the others are counted."""


def line(fields: dict[str, Any], steps: int) -> str:
    """The fields of metrics.jsonl in one line, of a run of `steps` steps."""
    head = f"step {fields['step']:>{len(str(steps))}}/{steps}"
    parts = next((of(fields) for name, of in _VALIDATIONS.items() if name in fields), None)
    parts = parts or _training(fields)
    return "  ".join([head, *(part for part in parts if part)])


def _validation(fields: dict[str, Any]) -> list[str]:
    return ["validation", *(f"{form} {_loss(v)}" for form, v in fields["validation"].items())]


def _probes(fields: dict[str, Any]) -> list[str]:
    """The most right answers of each kind of head, on what chooses among them."""
    best: dict[str, float] = {}
    for name, cell in fields["probes"].items():
        kind, judged = cell.get("kind", name), cell.get("held_out") or cell["test"]
        best[kind] = max(judged["top1"] / judged["n"], best.get(kind, 0.0))
    return ["validation", *(f"{kind} {share:.1%}" for kind, share in best.items())]


_VALIDATIONS = {"validation": _validation, "probes": _probes}
"""What tells a line of each kind, and how it is read."""


def _training(fields: dict[str, Any]) -> list[str]:
    return [
        f"loss {_loss(fields['loss'])}",
        f"norm {_number(fields['grad_norm'], '.2f')}",
        f"lr {fields['lr']:.2e}",
        f"{_rate(fields['images_per_second'])} img/s",
        _work(fields),
        f"data {data_wait(fields):.1%}",
        shares(fields["drawn"]),
        f"skipped {fields.get('skipped', 0)}",
        f"damaged {sum(n for kinds in fields['bad'].values() for n in kinds.values())}",
        f"{fields['memory_gb']:.1f} GB" if "memory_gb" in fields else "",
        f"ETA {duration(fields['eta_seconds'])}" if "eta_seconds" in fields else "",
        _slow(fields.get("slow")),
    ]


def _work(fields: dict[str, Any]) -> str:
    if "mfu" in fields:
        return f"MFU {fields['mfu']:.1%}"
    if "tflops" not in fields:
        return ""
    speed = fields["tflops"]
    return f"{speed:.3g} TFLOP/s" if speed >= 1 else f"{1000 * speed:.3g} GFLOP/s"


def _slow(slow: dict[str, Any] | None) -> str:
    return f"rank {slow['rank']} slow ({slow['phase']})" if slow else ""


def _loss(value: float | None) -> str:
    return _number(value, ".4f")


def _number(value: float | None, form: str) -> str:
    """Without a finite value, words: the log has null there."""
    return "not finite" if value is None or not math.isfinite(value) else format(value, form)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def shares(drawn: dict[str, int]) -> str:
    """Of all that was drawn since the run began, the most first: `web 80.1% target 19.9%`."""
    total = sum(drawn.values())
    order = sorted(drawn, key=lambda name: (-drawn[name], name))
    shown = [f"{name} {drawn[name] / total:.1%}" for name in order[:NAMED] if total]
    return " ".join(shown + [f"+{len(order) - NAMED} more"] * (len(order) > NAMED))


def duration(seconds: float) -> str:
    """The two largest units: `3d 04h`, `4h 12m`, `12m 05s`, `45s`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}h"
    if hour:
        return f"{hour}h {minute:02}m"
    return f"{minute}m {second:02}s" if minute else f"{second}s"
