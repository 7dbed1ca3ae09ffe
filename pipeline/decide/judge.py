"""Rules that look at one row at a time, in their order, over one part of the pool."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide import captions, clusters, decontaminate, lists, quotas, rules, safety
from pipeline.decide import files as named
from pipeline.decide import selection as subset
from pipeline.decide.config import DecideConfig
from pipeline.decide.pool import Load
from pipeline.decide.verdict import JUDGED, Verdicts
from pipeline.decide.views import WHOLE, good
from pipeline.decide.views import columns as view_columns


@dataclass(frozen=True)
class Prepared:
    """What rules need beside the rows, read and checked once for all parts."""

    lists: lists.Lists
    vocabulary: captions.Vocabulary
    references: decontaminate.References | None
    selection: subset.Selection | None
    clusters: clusters.Clusters | None


def prepare(config: DecideConfig, references: pa.Table | None) -> Prepared:
    """Reads the files that the config names. `references` are the facts of the evaluation images.

    Raises HeadraceError for a file that is not what it should be.
    """
    against = config.decontaminate
    return Prepared(
        lists=lists.prepare(config.lists),
        vocabulary=captions.prepare(config.rules),
        references=decontaminate.references(references, against) if against else None,
        selection=subset.prepare(config.select) if config.select else None,
        clusters=clusters.prepare(config.clusters) if config.clusters else None,
    )


def digests(config: DecideConfig) -> dict[str, str]:
    """The sha256 of every file that the verdicts depend on."""
    return named.digests(
        [
            *lists.files(config.lists),
            *captions.files(config.rules),
            *(subset.files(config.select) if config.select else ()),
            *(clusters.files(config.clusters) if config.clusters else ()),
        ]
    )


def columns(config: DecideConfig) -> set[str]:
    """Ledger columns that judging reads."""
    sections = [
        (lists, config.lists),
        (rules, config.rules),
        (captions, config.rules),
        (safety, config.safety),
        (decontaminate, config.decontaminate),
        (subset, config.select),
        (clusters, config.clusters),
        (quotas, config.quotas),
    ]
    looks = view_columns([WHOLE]) if _compares_looks(config) else set()
    return {"uid", "nbytes", "sha256"}.union(
        looks, *(module.columns(section) for module, section in sections if section)
    )


def judge(
    load: Load,
    part: str,
    first_row: int,
    generation: int,
    replaced: bool,
    config: DecideConfig,
    prepared: Prepared,
) -> pa.Table:
    """JUDGED rows of one part, whose first row has this number in the pool.

    `replaced`: its source has other bytes by now.
    """
    facts = load(part, columns(config) | {config.keeper_score})
    verdicts = Verdicts(facts.num_rows)
    group = _apply(verdicts, facts, replaced, config, prepared)
    count = facts.num_rows
    digest = _from_hex(facts["sha256"], 32)
    table = {
        "row": pa.array(range(first_row, first_row + count), pa.int64()),
        "generation": pa.array([generation] * count, pa.int32()),
        "reason": pa.array(verdicts.reason, pa.string()),
        "detail": pa.array(verdicts.detail, pa.string()),
        "keeper": pa.nulls(count, pa.int64()),
        "score": _score(facts, config.keeper_score),
        "nbytes": facts["nbytes"],
        "uid": _from_hex(facts["uid"], 16),
        "sha256": digest,
        "same": _same(facts, digest, config),
        "group": group,
    }
    return pa.table(table, schema=JUDGED).combine_chunks()


def _apply(
    verdicts: Verdicts, facts: pa.Table, replaced: bool, config: DecideConfig, prepared: Prepared
) -> pa.Array:
    """All rules, in DESIGN's order; returns the group that a quota counts each row towards."""
    rules.drop_unreadable(verdicts, facts)
    lists.drop_denied(verdicts, facts, prepared.lists)
    if config.safety:
        safety.drop_unsafe(verdicts, facts, config.safety)
    if config.decontaminate and prepared.references:
        decontaminate.drop_contaminated(verdicts, facts, prepared.references, config.decontaminate)
    if replaced:  # after the rules whose rows act as first keepers: they still do
        rules.drop_replaced(verdicts)
    rules.drop_by_size(verdicts, facts, config.rules)
    rules.drop_out_of_range(verdicts, facts, config.rules)
    captions.drop_by_length(verdicts, facts, config.rules)
    captions.drop_by_language(verdicts, facts, config.rules)
    captions.drop_by_vocabulary(verdicts, facts, config.rules, prepared.vocabulary)
    lists.drop_not_allowed(verdicts, facts, prepared.lists)
    if prepared.selection:
        subset.drop_not_selected(verdicts, facts, prepared.selection)
    cluster = None
    if config.clusters and prepared.clusters:
        cluster = clusters.drop_outside(verdicts, facts, config.clusters, prepared.clusters)
    if config.quotas:
        return quotas.group_of(facts, config.quotas, cluster)
    return pa.nulls(facts.num_rows, pa.string())


def _score(facts: pa.Table, column: str) -> pa.ChunkedArray | pa.Array:
    if column in facts.column_names:
        return facts[column].cast(pa.float32())
    return pa.nulls(facts.num_rows, pa.float32())


def _compares_looks(config: DecideConfig) -> bool:
    return config.duplicates is not None and config.duplicates.radius is not None


def _same(facts: pa.Table, digest: pa.Array, config: DecideConfig) -> pa.Array:
    """What equal images share: the upright hash where it says something, else the digest."""
    kind = pa.array([b"bytes   "] * len(digest), pa.binary())
    value = digest.cast(pa.binary())
    if _compares_looks(config):
        seen = pa.array(good(facts, WHOLE))
        looks = pc.binary_slice(facts[WHOLE.hashes].combine_chunks().cast(pa.binary()), 0, 32)
        kind = pc.if_else(seen, pa.scalar(b"look    ", pa.binary()), kind)
        value = pc.if_else(seen, looks, value)
    return pc.binary_join_element_wise(kind, value, b"").cast(pa.binary(40))


def _from_hex(column: pa.ChunkedArray, width: int) -> pa.Array:
    """Hex digits as bytes, null where there are none."""
    values = [None if text is None else bytes.fromhex(text) for text in column.to_pylist()]
    return pa.array(values, pa.binary(width))
