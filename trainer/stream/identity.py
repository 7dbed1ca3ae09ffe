"""What a stream is a function of besides the step: a resume must bring the same."""

from typing import Any

from trainer.stream.config import StreamConfig
from trainer.stream.plan import PlannedSource
from trainer.stream.source import Source


def identity_of(
    planned: list[PlannedSource], sources: list[Source], config: StreamConfig
) -> dict[str, Any]:
    """Everything that a batch depends on. The block is the one chosen, whatever chose it."""
    fields = config.model_dump(mode="json", exclude={"threads", "reads", "read_ahead", "block"})
    fields["sources"] = [source.name for source in sources]  # ties in the mixing word go by place
    for described, source in zip(planned, sources, strict=True):
        fields[f"source {described.name}"] = {
            "snapshot": source.snapshot.id,
            "samples": described.samples,
            "weight": described.weight,
            "block": described.block,
        }
    return fields


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two identities, in words."""
    return [
        f"{name} was {saved.get(name, 'absent')}, now {now.get(name, 'absent')}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name) != now.get(name)
    ]
