"""A store that answers as a test says."""

import asyncio
from typing import ClassVar

import fsspec
from fsspec.asyn import AsyncFileSystem

Answer = bytes | Exception | float
"""Instead of the bytes; what is raised; or seconds before the right answer."""


class ScriptedStore(AsyncFileSystem):
    """Works in fsspec's loop, as those on the network do. Takes no time but what is scripted."""

    protocol = "scripted"
    cachable = False
    files: ClassVar[dict[str, bytes]] = {}
    script: ClassVar[list[Answer]] = []
    """The answers to the next reads; after them comes the truth."""
    asked: ClassVar[list[tuple[str, int | None, int | None]]] = []
    abandoned: ClassVar[list[str]] = []
    """Reads that were ended from outside."""
    pauses: ClassVar[list[float]] = []
    """Seconds before the answers to the next look-ups."""

    async def _ls(self, path, detail=True, **options):
        names = [name for name in self.files if name.rpartition("/")[0] == path]
        return [await self._info(name) for name in names] if detail else names

    async def _info(self, path, **options):
        await asyncio.sleep(self.pauses.pop(0) if self.pauses else 0)
        if any(name.startswith(f"{path}/") for name in self.files):
            return {"name": path, "size": 0, "type": "directory"}
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.files[path]), "type": "file", "ETag": "1"}

    async def _cat_file(self, path, start=None, end=None, **options):
        self.asked.append((path, start, end))
        answer = self.script.pop(0) if self.script else 0.0
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, Exception):
            raise answer
        try:
            await asyncio.sleep(answer)
        except asyncio.CancelledError:
            self.abandoned.append(path)
            raise
        await self._info(path)
        return self.files[path][start:end]


def empty() -> type[ScriptedStore]:
    """The store, without a file or a script."""
    fsspec.register_implementation("scripted", ScriptedStore, clobber=True)
    ScriptedStore.files, ScriptedStore.script = {}, []
    ScriptedStore.asked, ScriptedStore.abandoned, ScriptedStore.pauses = [], [], []
    return ScriptedStore
