"""`synthetic://`: a store in which every shard of a large dataset is one and the same real tar.

synthetic://<folder>/shards/00000000.tar           is /<folder>/shard.tar, whatever its number
synthetic://<folder>/shards/00000000.idx.parquet   is /<folder>/shard.idx.parquet
everything else                                    is the file of that name
"""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Synthetic(fsspec.AbstractFileSystem):
    """Reads alone."""

    protocol = "synthetic"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return self._disk.open(real(path), mode)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        return self._disk.cat_file(real(path), start, end)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return self._disk.info(real(path)) | {"name": path}

    def exists(self, path: str, **options: Any) -> bool:
        return self._disk.exists(real(path))


def real(path: str) -> str:
    """The file that a path stands for."""
    folder, middle, name = path.removeprefix("synthetic://").partition("/shards/")
    return f"/{folder.strip('/')}/" + (f"shard{name[8:]}" if middle else "")


def register() -> None:
    fsspec.register_implementation(Synthetic.protocol, Synthetic)
