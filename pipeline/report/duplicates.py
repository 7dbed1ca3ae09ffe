"""Groups of equal and near-equal images: the one that stays, and those that fell to it."""

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdict import Reason
from pipeline.report.curation import Row, as_rows

GROUPS_SHOWN, COPIES_SHOWN = 12, 8

DUPLICATES = pa.array([Reason.EXACT_DUPLICATE.value, Reason.NEAR_DUPLICATE.value])

CLOSENESS = "^(same bytes|[0-9]+ bits) (as|from) "
"""How the detail of a duplicate begins; the rest is the name of its keeper, SOURCE#KEY@OFFSET.

The name stays whole: keys and sources may hold `#` and `@` themselves, so it is compared with the
names of rows and never taken apart.
"""


@dataclass(frozen=True)
class Group:
    """A keeper and the first of its copies, `total` in all."""

    keeper: Row
    copies: tuple[Row, ...]
    total: int


def closeness(row: Row) -> str:
    """How close a row is to what its detail names: `same bytes` or `12 bits apart`."""
    match = re.match(CLOSENESS, row.detail or "")
    return "" if match is None else match[1].replace("bits", "bits apart")


def groups(rows: pa.Table) -> tuple[list[Group], int]:
    """The largest groups, those with near copies first among equals; and how many there are.

    A keeper may itself be dropped: what is like a contaminated image falls with it.
    """
    fallen = rows.filter(pc.is_in(rows["reason"], DUPLICATES))
    keeper = pc.replace_substring_regex(fallen["detail"], CLOSENESS, "")
    fallen = fallen.append_column("keeper", keeper)
    sizes = _sizes(fallen)
    names = sizes["keeper"].slice(0, GROUPS_SHOWN).to_pylist()
    keepers = _by_name(rows, names)
    shown = [_group(keepers[name], name, fallen) for name in names if name in keepers]
    return shown, sizes.num_rows


def _sizes(fallen: pa.Table) -> pa.Table:
    """Names of keepers, in the order in which their groups deserve to be shown."""
    exact = pc.equal(fallen["reason"], Reason.EXACT_DUPLICATE.value)
    fallen = fallen.append_column("exact", pc.cast(exact, pa.int64()))
    sizes = fallen.group_by("keeper").aggregate([("uid", "count"), ("exact", "sum")])
    order = [("uid_count", "descending"), ("exact_sum", "ascending"), ("keeper", "ascending")]
    return sizes.sort_by(order)


def _group(keeper: Row, name: str, fallen: pa.Table) -> Group:
    members = fallen.filter(pc.equal(fallen["keeper"], name))
    copies = as_rows(members.slice(0, COPIES_SHOWN))
    return Group(keeper, tuple(copies), members.num_rows)


def _by_name(rows: pa.Table, names: list[str]) -> dict[str, Row]:
    """The rows of these names, as pipeline/decide/duplicates.py writes them."""
    key = pc.binary_join_element_wise(rows["source"], rows["key"], "#")
    name = pc.binary_join_element_wise(key, pc.cast(rows["offset"], pa.string()), "@")
    mask = pc.is_in(name, pa.array(names, pa.string()))
    return dict(zip(name.filter(mask).to_pylist(), as_rows(rows.filter(mask)), strict=True))
