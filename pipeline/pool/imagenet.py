"""ILSVRC2012 as it is published: the train tar of tars, the val tar, or class folders."""

import re
from collections.abc import Iterator
from dataclasses import replace

from pipeline.format import address, store
from pipeline.format.tars import Damage, scan
from pipeline.pool import folder, validation, webdataset
from pipeline.pool.sample import Part, PoolImage, part_name
from pipeline.pool.tables import open_scattered

_WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
_PIECE = 1 << 16
"""Bytes read around a header: the thousand of the train tar need not cost a gigabyte."""


def parts(url: str) -> list[Part]:
    """One part for each inner tar, for each tar that has none, for each slice of a folder.

    `classes` are the wnids of all of them, sorted: the usual order of ImageNet. Raises
    HeadraceError if validation images lie in no class folder and nothing labels them.
    """
    found = _parts(url)
    wnids = {_wnid(name) for part in found for name in part.files}
    for labels in {_labels_url(part) for part in found}:
        wnids |= set(validation.read(labels).values() if labels else ())
    classes = tuple(sorted(wnids - {""}))
    return [
        replace(part, classes=classes, name=part_name("imagenet", part.name, *classes))
        for part in found
    ]


def _parts(url: str) -> list[Part]:
    if not url.endswith(".tar"):
        return _folder_parts(url)
    return [part for tar in store.expand(url) for part in _tar_parts(store.stat(tar))]


def _tar_parts(stat: store.Stat) -> list[Part]:
    """One scan of the outer headers. The unreadable rest is a part, to become its one row."""
    found: list[Part] = []
    with store.reading(stat.url), open_scattered(stat.url, _PIECE) as file:
        for one in scan(file):
            if isinstance(one, Damage):
                found.append(_slice(stat, "", one.offset, stat.nbytes))
            elif "tar" in one.members:
                tar = one.members["tar"]
                found.append(_slice(stat, f"{one.key}.tar", tar.offset, tar.offset + tar.nbytes))
            elif not found:  # it begins with an image, so it is no tar of tars
                return [_whole(stat, one.key)]
    return found


def _slice(stat: store.Stat, name: str, begin: int, end: int) -> Part:
    version = part_name(stat.url, stat.nbytes, stat.etag, begin, end)
    return Part("imagenet", stat.url, version, end - begin, (name,), begin, end)


def _whole(stat: store.Stat, first: str) -> Part:
    """The part of a tar of images, by the name of its first: of one class, or for validation."""
    home, _, name = stat.url.rpartition("/")
    part = _slice(stat, name, 0, stat.nbytes)
    return _with_labels(part, home) if _needs_labels(first) else part


def _with_labels(part: Part, home: str) -> Part:
    """The part with the file that labels the validation images, its last."""
    stat = validation.find(home)
    name = part_name(part.name, stat.url, stat.nbytes, stat.etag)
    return replace(part, name=name, files=(*part.files, stat.url.rpartition("/")[2]))


def _folder_parts(url: str) -> list[Part]:
    found = [replace(part, format="imagenet") for part in folder.parts(url)]
    if any(_needs_labels(name) for part in found for name in part.files):
        return [_with_labels(part, part.source) for part in found]
    return found


def _needs_labels(name: str) -> bool:
    return validation.number(name) > 0 and not _wnid(name)


def _wnid(name: str) -> str:
    match = _WNID.search(name)
    return match[0] if match else ""


def _labels_url(part: Part) -> str:
    """Where the part's label file lies, if it has one."""
    if part.files[-1] not in validation.READERS:
        return ""
    home = part.source.rpartition("/")[0] if _is_tar(part.source) else part.source
    return address.join(home, part.files[-1])


def _is_tar(source: str) -> bool:
    return source.endswith(".tar")


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The images of the part in order, their wnid standing in for a caption."""
    labels_url = _labels_url(part)
    labels = validation.read(labels_url) if labels_url else {}
    numbers = {wnid: number for number, wnid in enumerate(part.classes)}
    tar = _is_tar(part.source)
    home = _wnid(part.files[0]) if tar else ""
    for image in webdataset.samples(part, max_bytes, {}) if tar else folder.read(part, max_bytes):
        wnid = _wnid(image.key) or labels.get(validation.number(image.key)) or home
        meta = {"label": wnid, "class_index": numbers.get(wnid)} if wnid else {}
        yield replace(image, caption=wnid, meta=meta) if image.key else image


def fetch(source: str, key: str, offset: int, nbytes: int) -> bytes:
    """The image bytes of one sample: a range of the (outer) tar, or a file."""
    return (webdataset if _is_tar(source) else folder).fetch(source, key, offset, nbytes)
