"""Applying a quota: of each group and generation at most so many rows, the best keepers."""

from functools import partial
from itertools import repeat

import numpy as np
import pyarrow as pa

from pipeline.decide.engine import Engine, Handle
from pipeline.decide.homing import places, slices
from pipeline.decide.pool import Pool
from pipeline.decide.quotas import QuotaConfig
from pipeline.decide.verdict import Reason, drop, keeper_order, standing

OVER = pa.schema([("row", pa.int64())])


def apply(engine: Engine, pool: Pool, tables: list[Handle], config: QuotaConfig) -> list[Handle]:
    """Drops the standing rows of each group that are beyond its quota."""
    beyond = partial(beyond_quota, at_most=config.at_most)
    found = engine.shuffle(engine.map(grouped, tables), "group", beyond)
    own = slices(found, pool.bounds, OVER)
    return engine.map(drop_over, tables, own, repeat(config))


def grouped(rows: pa.Table) -> pa.Table:
    """The standing rows that a quota counts."""
    counted = standing(rows) & rows["group"].is_valid().to_numpy()
    return rows.filter(pa.array(counted)).drop_columns(["detail", "keeper", "sha256"])


def beyond_quota(rows: pa.Table, at_most: int) -> pa.Table:
    """OVER: rows after the first `at_most`, in keeper order, of each group and generation."""
    order = keeper_order(rows)
    group = rows["group"].combine_chunks().dictionary_encode().indices.to_numpy()[order]
    generation = rows["generation"].to_numpy()[order]
    by = np.lexsort((generation, group))
    group, generation = group[by], generation[by]
    new = np.ones(len(by), bool)
    new[1:] = (group[1:] != group[:-1]) | (generation[1:] != generation[:-1])
    count = np.arange(len(by))
    place = count - np.maximum.accumulate(np.where(new, count, 0))
    return pa.table({"row": rows["row"].to_numpy()[order[by[place >= at_most]]]}, schema=OVER)


def drop_over(rows: pa.Table, over: pa.Table, config: QuotaConfig) -> pa.Table:
    """One table of JUDGED rows with its OVER rows dropped."""
    mask = np.zeros(rows.num_rows, bool)
    mask[places(over, rows)] = True
    groups = rows["group"]
    text = f"{config.per} {{}} already has {config.at_most}"
    return drop(
        rows,
        mask,
        Reason.OVER_QUOTA,
        lambda at: [text.format(g) for g in groups.take(at).to_pylist()],
    )
