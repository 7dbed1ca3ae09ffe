"""What a stream is a function of besides the step: a resume must bring the same."""

from typing import Any

from trainer.stream.config import StreamConfig
from trainer.stream.order import ORDER
from trainer.stream.plan import PlannedSource
from trainer.stream.source import Source

FREE_TO_CHANGE = {"threads", "reads", "read_ahead", "patience", "cache", "max_bad"}
"""Fields that no batch depends on."""

PRINT = 16
"""Hex digits of a shard's fingerprint that a state holds."""

NAMED = 3
"""Changed shards that a message names."""


def identity_of(
    planned: list[PlannedSource], sources: list[Source], config: StreamConfig
) -> dict[str, Any]:
    """Everything that a batch depends on. The block is the one chosen, whatever chose it."""
    fields = config.model_dump(mode="json", exclude=FREE_TO_CHANGE | {"block"})
    fields["order"] = ORDER
    fields["sources"] = [source.name for source in sources]  # ties in the mixing word go by place
    for described, source in zip(planned, sources, strict=True):
        fields[f"source {described.name}"] = {
            "shards": source.shards.id,
            "samples": described.samples,
            "weight": described.weight,
            "block": described.block,
        }
    return fields


def differences(saved: dict[str, Any], now: dict[str, Any], within: str = "") -> list[str]:
    """What differs between two identities, in words: fields by their whole names."""
    found = []
    for name in sorted(saved.keys() | now.keys()):
        was, new = saved.get(name, "absent"), now.get(name, "absent")
        if isinstance(was, dict) and isinstance(new, dict):
            found += differences(was, new, f"{within}{name}.")
        elif was != new:
            found.append(f"{within}{name} was {was}, now {new}")
    return found


def shard_prints(sources: list[Source]) -> dict[str, str]:
    """A fingerprint of each shard, by source and joined, where shards may change under a run.

    Snapshots have none: their id says it all.
    """
    return {source.name: _prints(source) for source in sources if source.shards.indexes}


def _prints(source: Source) -> str:
    shards = source.shards
    return "".join(shards.fingerprint(n)[:PRINT] for n in range(len(shards.paths)))


def changed_shards(
    saved: dict[str, str], present: dict[str, str], sources: list[Source]
) -> list[str]:
    """The first shards whose `shard_prints` differ, in words, of sources of the same size.

    Other numbers of shards are a difference of identities.
    """
    found = []
    for source in sources:
        was, now = saved.get(source.name, ""), present.get(source.name, "")
        if len(was) == len(now):
            starts = range(0, len(now), PRINT)
            changed = [at // PRINT for at in starts if was[at : at + PRINT] != now[at : at + PRINT]]
            found += [f"{source.shards.url(n)} was changed" for n in changed[:NAMED]]
    return found
