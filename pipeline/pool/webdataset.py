"""WebDataset tars as img2dataset and DataComp write them: key.jpg, key.txt, key.json."""

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from pipeline.format import address, store
from pipeline.format.tars import Damage, Member, Sample, scan
from pipeline.pool import sidecar
from pipeline.pool.sample import (
    MAX_TEXT_BYTES,
    Part,
    PoolImage,
    caption_of,
    part_name,
    uid_of,
)

LABEL = "label"
"""Field that holds an image's class."""


def parts(url: str) -> list[Part]:
    """One part per tar that the URL pattern names, with the sidecars that lie beside it."""
    names: dict[str, set[str]] = {}
    found = []
    for shard in store.expand(url):
        folder = shard.rpartition("/")[0]
        if folder not in names:
            with store.reading(folder):
                names[folder] = store.names(folder)
        found.append(_part(shard, folder, sidecar.beside(shard, names[folder])))
    return found


def _part(shard: str, folder: str, sidecars: list[str]) -> Part:
    stats = [store.stat(url) for url in (shard, *(address.join(folder, name) for name in sidecars))]
    versions = [version for s in stats for version in (s.url, s.nbytes, s.etag)]
    return Part("webdataset", shard, part_name(*versions), stats[0].nbytes, tuple(sidecars))


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """Every sample of the tar in order; the unreadable rest of a damaged one is a row too.

    What a sample's json member does not tell is taken from the sidecar.
    """
    yield from samples(part, max_bytes, sidecar.records(part))


def samples(part: Part, max_bytes: int, told: Mapping[str, dict[str, Any]]) -> Iterator[PoolImage]:
    """The same, of the bytes that the part names, with what is told of its keys."""
    with store.open_read(part.source) as file:
        for found in scan(file, part.begin, part.end or None):
            if isinstance(found, Damage):
                yield _damaged(part, found)
            else:
                yield _sample(part, found, file, max_bytes, told.get(found.key, {}))


def fetch(source: str, key: str, offset: int, nbytes: int) -> bytes:
    """The image bytes of one sample, by a ranged read."""
    return store.read_bytes(source, offset, offset + nbytes)


def _damaged(part: Part, damage: Damage) -> PoolImage:
    return PoolImage(
        source=part.source,
        key="",
        offset=damage.offset,
        nbytes=(part.end or part.nbytes) - damage.offset,
        uid=uid_of({}, part.source, f"@{damage.offset}"),
        error=f"archive_damaged: {damage.message}",
    )


def _sample(
    part: Part, sample: Sample, file: IO[bytes], max_bytes: int, told: dict[str, Any]
) -> PoolImage:
    meta = told | _meta(sample.members.get("json"), file)
    if part.caption == LABEL and meta.get(LABEL) is None:
        meta |= _label(sample.members.get("cls"), file)
    caption = _text(sample.members.get("txt"), file) or caption_of(meta)
    image, data, error = sample.image, b"", None
    if image is None:
        error = "no_image: the sample has only " + ", ".join(sorted(sample.members))
    elif image.nbytes > max_bytes:
        error = f"too_many_bytes: {image.nbytes} is over {max_bytes}"
    else:
        data = _read(file, image, max_bytes)
    return PoolImage(
        source=part.source,
        key=sample.key,
        offset=image.offset if image else sample.start,
        nbytes=image.nbytes if image else 0,
        uid=uid_of(meta, part.source, sample.key),
        image=data,
        caption=caption,
        meta=meta,
        error=error,
    )


def _read(file: IO[bytes], member: Member, limit: int) -> bytes:
    file.seek(member.offset)
    return file.read(min(member.nbytes, limit))


def _text(member: Member | None, file: IO[bytes]) -> str:
    return _read(file, member, MAX_TEXT_BYTES).decode(errors="replace").strip() if member else ""


def _label(member: Member | None, file: IO[bytes]) -> dict[str, Any]:
    """The cls member, a class's number or name, as a field; what is no text is as good as absent.

    It is asked for only where labels are to be the captions: the records of all other pools, and
    so what was measured of them, stay without it.
    """
    text = _text(member, file)
    return {LABEL: text} if text and text.isprintable() and "\ufffd" not in text else {}


def _meta(member: Member | None, file: IO[bytes]) -> dict[str, Any]:
    """The json member as a dictionary; what cannot be parsed is as good as absent."""
    try:
        meta = json.loads(_text(member, file) or "{}")
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}
