"""Folders of images, with captions beside them, or else in class folders."""

import errno
import posixpath
from collections.abc import Iterator
from itertools import takewhile

from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.format.tars import IMAGE_EXTENSIONS
from pipeline.pool import metadata
from pipeline.pool.sample import MAX_TEXT_BYTES, Part, PoolImage, caption_of, part_name, uid_of

SLICE = 10_000
"""Files in one part, DESIGN.md "Ledger"."""

_SUFFIXES = tuple(f".{extension}" for extension in IMAGE_EXTENSIONS)
_LOST = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENXIO)


def parts(url: str) -> list[Part]:
    """The folder's images in the order of their paths, in slices, with what tells of them."""
    root = address.absolute(url)
    files = {s.url.removeprefix(root + "/"): s for s in store.find(root)}
    images = [name for name in files if _is_image(name)]
    if not images:
        raise HeadraceError(f"{root}: no images below this folder; check the path")
    tables = [name for name in files if metadata.is_metadata(name)]
    slices = [images[at : at + SLICE] for at in range(0, len(images), SLICE)]
    return [_part(root, names, tables, files) for names in slices]


def _part(root: str, images: list[str], tables: list[str], files: dict[str, store.Stat]) -> Part:
    texts = dict.fromkeys(text for text in map(_text_name, images) if text in files)
    names = (*images, *texts, *tables)
    stats = [files[name] for name in names]
    versions = [version for s in stats for version in (s.url, s.nbytes, s.etag)]
    nbytes = sum(s.nbytes for s in stats[: len(images)])
    return Part("folder", root, part_name(*versions), nbytes, names)


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _text_name(image: str) -> str:
    return posixpath.splitext(image)[0] + ".txt"


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The images of the slice; one that is no longer to be had is a row with its reason."""
    images = list(takewhile(_is_image, part.files))
    others = set(part.files[len(images) :])
    told = metadata.records(part.source, filter(metadata.is_metadata, others), set(images))
    for key in images:
        label, _, below = key.partition("/")
        meta = ({"label": label} if below else {}) | told.get(key, {})
        text = _text_name(key)
        words = _load(part.source, text, MAX_TEXT_BYTES)[0] if text in others else b""
        data, error = _load(part.source, key, max_bytes + 1)
        nbytes = len(data)
        if nbytes > max_bytes:
            data, error = b"", f"too_many_bytes: more than {max_bytes}"
        yield PoolImage(
            source=part.source,
            key=key,
            offset=0,
            nbytes=nbytes,
            uid=uid_of(meta, part.source, key),
            image=data,
            caption=words.decode(errors="replace").strip() or caption_of(meta),
            meta=meta,
            error=error,
        )


def _load(root: str, name: str, limit: int) -> tuple[bytes, str | None]:
    """A file's bytes up to a limit, or why there are none."""
    if name != name.encode(errors="replace").decode():  # no ledger can hold it to find it by
        return b"", "unreadable_file: its name is not UTF-8; rename it"
    try:
        return store.read_bytes(address.join(root, name), 0, limit), None
    except HeadraceError as failure:
        if not _is_lost(root, failure.__cause__):
            raise
        return b"", f"unreadable_file: {failure}"


def _is_lost(root: str, cause: BaseException | None) -> bool:
    """Whether reading again cannot help: the file is gone, or its own disk does not give it.

    All else is a store that fails for now or does not let us in; then the part is read again.
    """
    if isinstance(cause, FileNotFoundError):
        return True
    return root.startswith("file://") and getattr(cause, "errno", None) in _LOST


def fetch(source: str, key: str, offset: int, nbytes: int) -> bytes:
    """The bytes of one file."""
    return store.read_bytes(address.join(source, key))
