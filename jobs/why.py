"""`headrace why`: the whole story of any pool image.

Of all parts only the columns that are searched are read; only the parts that hold the image are
read whole.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from jobs.lookalike import nearest
from pipeline import ledger, plan
from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot, read_parquet, read_snapshot
from pipeline.report.reasons import setting, words

TOLD_ABOVE = ("source", "key", "offset")
"""Ledger columns that the first line of a story holds already."""

VALUE_CHARACTERS, LIST_SHOWN = 200, 8


@dataclass(frozen=True)
class Story:
    """One pool image: what was measured, and what became of it."""

    snapshot: Snapshot
    verdict: dict[str, Any]
    """Its row of the plan."""
    facts: dict[str, Any]
    """Its row of every ledger family."""
    keepers: tuple[dict[str, Any], ...]
    """Rows of the plan: the image that it duplicates; the one that this one duplicates; …"""

    @property
    def shard(self) -> str | None:
        """The tar that holds it, if it was kept."""
        return _shard(self.snapshot, self.verdict)


def run(dataset: str, name: str) -> list[Story]:
    """Every row of the snapshot that `name` names: a uid, a key, a shard key, `source#key`,
    `source#key@offset`, or a local image file, whose bytes are looked for.

    Raises HeadraceError if there is none.
    """
    snapshot = read_snapshot(dataset)
    sources = plan.read_sources(snapshot.url)
    find = _by_bytes if Path(name).is_file() else _by_name
    return [_story(snapshot, sources, part, at) for part, at in find(snapshot, sources, name)]


def _by_name(snapshot: Snapshot, sources: pa.Table, name: str) -> list[tuple[int, int]]:
    """(part, index) of the rows of this name."""
    meanings = _meanings(name)
    keys = pa.array([key for _, key, _ in meanings], pa.string())
    uid, key, shard_key = (ds.field(column).isin(keys) for column in ("uid", "key", "shard_key"))
    urls = [plan.part_url(snapshot.url, part) for part in range(sources.num_rows)]
    found = [
        (part, at)
        for part in _parts_with(urls, uid | key | shard_key)
        for at, row in enumerate(plan.read_part(snapshot.url, part).to_pylist())
        if any(_is_named(row, *meaning) for meaning in meanings)
    ]
    if not found:
        raise HeadraceError(
            f"{snapshot.url}: no pool image has the uid or key {name!r}, nor is there such a file; "
            f"keys look like {_a_key(snapshot, sources)}"
        )
    return found


def _meanings(name: str) -> list[tuple[str, str, int | None]]:
    """What a name may mean, as (end of the source, key, offset): keys may hold `#` and `@` too."""
    hashes = [at for at, sign in enumerate(name) if sign == "#"]
    found = [("", name), *((name[:at], name[at + 1 :]) for at in hashes)]
    meanings: list[tuple[str, str, int | None]] = [(source, key, None) for source, key in found]
    for source, text in found:
        key, at, offset = text.rpartition("@")
        if at and offset.isascii() and offset.isdecimal():
            meanings.append((source, key, int(offset)))
    return meanings


def _is_named(row: Mapping[str, Any], source: str, key: str, offset: int | None) -> bool:
    named = key == row["key"] or (not source and key in (row["uid"], row["shard_key"]))
    return named and row["source"].endswith(source) and offset in (None, row["offset"])


def _a_key(snapshot: Snapshot, sources: pa.Table) -> str:
    for part, rows in enumerate(sources["rows"].to_pylist()):
        if rows:
            return repr(plan.read_part(snapshot.url, part, ["key"])["key"][0].as_py())
    return "nothing: the pool is empty"


def _by_bytes(snapshot: Snapshot, sources: pa.Table, path: str) -> list[tuple[int, int]]:
    """(part, index) of the rows with the bytes of a file."""
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    mark = snapshot.ledger["image"]
    urls = [
        ledger.part_url(snapshot.dataset, "image", mark, part)
        for part in sources["part"].to_pylist()
    ]
    found = [
        (part, at)
        for part in _parts_with(urls, ds.field("sha256") == digest)
        for at, other in enumerate(read_parquet(urls[part], ["sha256"])["sha256"].to_pylist())
        if other == digest
    ]
    if not found:
        raise HeadraceError(f"{path}: no pool image has these bytes; {nearest(data, urls)}")
    return found


def _parts_with(urls: list[str], wanted: ds.Expression) -> list[int]:
    """Numbers of the files in which a row matches, without reading more than the columns asked
    about, and nothing of those whose statistics rule it out.
    """
    if not urls:
        return []
    fs, _ = store.filesystem(urls[0])
    paths = [store.filesystem(url)[1] for url in urls]
    with store.reading(urls[0].rpartition("/")[0]):
        scanner = ds.dataset(paths, filesystem=fs, format="parquet").scanner(
            columns=["__fragment_index"], filter=wanted
        )
        hits: list[int] = scanner.to_table()["__fragment_index"].unique().to_pylist()
    return sorted(hits)


def _story(snapshot: Snapshot, sources: pa.Table, part: int, at: int) -> Story:
    name = sources["part"][part].as_py()
    verdict = plan.read_part(snapshot.url, part).slice(at, 1).to_pylist()[0]
    facts: dict[str, Any] = {}
    for family, mark in snapshot.ledger.items():
        table = read_parquet(ledger.part_url(snapshot.dataset, family, mark, name))
        facts |= table.slice(at, 1).to_pylist()[0]
    return Story(snapshot, verdict, facts, tuple(_keepers(snapshot, sources, verdict)))


def _keepers(
    snapshot: Snapshot, sources: pa.Table, verdict: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Whom a row fell to, and whom that one fell to, and so on to one that duplicates none."""
    seen = set[int]()
    while (row := verdict["keeper"]) is not None and row not in seen:
        seen.add(row)
        verdict = plan.row_at(snapshot.url, sources, row)
        yield dict(verdict)


def lines(story: Story) -> list[str]:
    """The story as a person reads it."""
    told = [_name(story.verdict), f"  {_outcome(story.snapshot, story.verdict)}"]
    if reason := story.verdict["reason"]:
        about = words(reason)
        told.append(f"  rule: {about.title} ({setting(reason, story.snapshot.config['decide'])})")
        told.append(f"    {about.explanation}")
    for keeper in story.keepers:
        told.append(f"  duplicates {_name(keeper)}")
        told.append(f"    which was {_outcome(story.snapshot, keeper)}")
    measured = {name: value for name, value in story.facts.items() if name not in TOLD_ABOVE}
    told += [f"  {name:26} {_shown(value)}" for name, value in measured.items()]
    return [_printable(line) for line in told]


def _name(verdict: Mapping[str, Any]) -> str:
    return f"{verdict['source']}#{verdict['key']}@{verdict['offset']}"


def _shard(snapshot: Snapshot, verdict: Mapping[str, Any]) -> str | None:
    return snapshot.shards[verdict["shard"]].path if verdict["keep"] else None


def _outcome(snapshot: Snapshot, verdict: Mapping[str, Any]) -> str:
    if not verdict["keep"]:
        return f"dropped: {verdict['reason']}: {verdict['detail']}"
    place = f"place {verdict['position']}, key {verdict['shard_key']}"
    return f"kept in {_shard(snapshot, verdict)}, {place}"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return f"{value[:16].hex()}…, {len(value)} bytes"
    if isinstance(value, list) and len(value) > LIST_SHOWN:
        return f"{len(value)} values"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)[:VALUE_CHARACTERS]


def _printable(line: str) -> str:
    """A stranger's captions and keys may hold what a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in line)
