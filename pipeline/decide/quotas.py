"""Quotas: which group a row counts towards. The counting is done over the whole pool."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.decide.domains import domains
from pipeline.format.errors import HeadraceError
from pipeline.settings import Settings


class QuotaConfig(Settings):
    """How many rows of one group are kept, the best keepers first."""

    per: str = Field(min_length=1)
    """What makes a group: `domain` (the URL's host without `www.`), `cluster` (the nearest of
    `clusters.centroids`), or a ledger column of text or whole numbers."""

    at_most: int = Field(gt=0)
    """Rows of one group that are kept."""


def columns(config: QuotaConfig) -> set[str]:
    """Ledger columns that make the groups."""
    return {"domain": {"url"}, "cluster": set[str]()}.get(config.per, {config.per})


def group_of(
    rows: pa.Table, config: QuotaConfig, cluster: npt.NDArray[np.int32] | None = None
) -> pa.Array:
    """The group of each row, as text; null for rows that have none, which no quota counts.

    `cluster` is each row's cluster, as `clusters.drop_outside` gives it: -1 for none. Raises
    HeadraceError if the column does not make groups.
    """
    if config.per == "domain":
        return domains(rows["url"])
    if config.per == "cluster":
        if cluster is None:
            raise HeadraceError("quotas.per is cluster: name the centroids under clusters")
        return pc.cast(pa.array(cluster, mask=cluster < 0), pa.string())
    kind = rows.schema.field(config.per).type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind)):
        raise HeadraceError(f"quotas.per: {config.per} holds {kind}, which makes no groups")
    return pc.cast(rows[config.per], pa.string()).combine_chunks()
