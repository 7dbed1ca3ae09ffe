"""Class folders: `<root>/<class>/…/<image>`, the class name standing in for a caption."""

from collections.abc import Iterator

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.tars import IMAGE_EXTENSIONS
from pipeline.pool.sample import Part, PoolImage, part_name, uid_of

SLICE = 10_000
"""Files in one part, DESIGN.md "Ledger"."""


def parts(url: str) -> list[Part]:
    """The folder's images in the order of their paths, in slices."""
    root = store.absolute(url)
    images = [s for s in store.find(root) if s.url.lower().endswith(_SUFFIXES)]
    if not images:
        raise HeadraceError(f"{root}: no images below this folder; check the path")
    slices = [images[at : at + SLICE] for at in range(0, len(images), SLICE)]
    return [_part(root, files) for files in slices]


_SUFFIXES = tuple(f".{extension}" for extension in IMAGE_EXTENSIONS)


def _part(root: str, files: list[store.Stat]) -> Part:
    versions = [version for s in files for version in (s.url, s.nbytes, s.etag)]
    names = tuple(s.url.removeprefix(root + "/") for s in files)
    return Part("folder", root, part_name(*versions), sum(s.nbytes for s in files), names)


def read(part: Part, max_bytes: int) -> Iterator[PoolImage]:
    """The images of the slice; one that cannot be opened is a row with its reason."""
    for key in part.files:
        data, error = b"", None
        try:
            data = store.read_bytes(store.join(part.source, key), 0, max_bytes + 1)
        except HeadraceError as failure:
            error = f"unreadable_file: {failure}"
        nbytes = len(data)
        if key != key.encode(errors="replace").decode():  # no ledger can hold it to find it by
            data, error = b"", "unreadable_file: its name is not UTF-8; rename it"
        elif nbytes > max_bytes:
            data, error = b"", f"too_many_bytes: more than {max_bytes}"
        label, _, rest = key.partition("/")
        yield PoolImage(
            source=part.source,
            key=key,
            offset=0,
            nbytes=nbytes,
            uid=uid_of({}, part.source, key),
            image=data,
            caption=label if rest else "",
            meta={"label": label} if rest else {},
            error=error,
        )


def fetch(source: str, key: str, offset: int, nbytes: int) -> bytes:
    """The bytes of one file."""
    return store.read_bytes(store.join(source, key))
