"""The rows of the tables: which tool, in which environment, and what it can do."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TOOLS, ROOT = HERE / "tools", HERE.parents[2]
OURS = "headrace"


@dataclass(frozen=True)
class Row:
    """One tool, one way to run it."""

    tool: str
    script: str
    home: str = ""
    """Folder of PEERS with the tool's environment; empty: headrace's own."""
    variant: str = ""
    simd: bool = False
    """With the pillow-simd of headrace's own environment instead of the Pillow of all."""
    converts: bool = False
    reads: bool = True
    """Whether it gives batches: floors don't."""
    resumes: bool = False
    """Whether it has a state to go on from: the resume and the elastic test are of these."""

    @property
    def data(self) -> str:
        """Name of the folder with what it made of the pool: variants of a tool share it."""
        return self.script.removesuffix(".py")


FLOOR, STREAM = "floor.py", "ours.py"
ROWS = [
    Row("floor, 2 processes", FLOOR, variant="processes", reads=False),
    Row("floor, 2 threads", FLOOR, variant="threads", reads=False),
    Row("floor, 2 processes, pillow-simd", FLOOR, variant="processes", simd=True, reads=False),
    Row(OURS, STREAM, converts=True, resumes=True),
    Row(f"{OURS}, block of 1", STREAM, variant='{"block": 1}'),
    Row(f"{OURS}, jitter", STREAM, variant='{"augment": {"jitter": {}}}'),
    Row(f"{OURS}, draft", STREAM, variant='{"augment": {"draft": true}}'),
    Row(f"{OURS}, pillow-simd", STREAM, simd=True),
    Row("webdataset", "webdataset_tars.py", "webdataset"),
    Row("MosaicML streaming", "mosaicml_mds.py", "mosaicml", converts=True, resumes=True),
    Row("litdata", "litdata_chunks.py", "litdata", converts=True, resumes=True),
    Row("DALI", "dali_pipeline.py", "dali"),
]

FAR = Row(f"{OURS}, 2 billion samples", "ours_far.py", converts=True)
"""Whose resume is at step 1,000,000; the others' at half of their epoch."""


def python(row: Row, peers: Path) -> str:
    """The interpreter of a row."""
    return str(peers / row.home / "bin" / "python") if row.home else sys.executable


def missing(row: Row, peers: Path) -> str | None:
    """Why a row cannot run, if it cannot."""
    for path in (Path(python(row, peers)), peers / "pillow" / "PIL"):
        if not path.exists():
            return f"no {path}: run stream/install.sh"
    return None


def environment(row: Row, peers: Path) -> dict[str, str]:
    """The runner's own, with the modules that the row imports."""
    paths = [] if row.simd else [peers / "pillow"]
    paths += [TOOLS] if row.home else [TOOLS, ROOT]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def command(row: Row, peers: Path, pool: Path, data: Path, *more: object) -> list[str]:
    """What is run: `more` are arguments of tools/same_work.py."""
    given = ["--pool", pool, "--data", data / row.data, "--variant", row.variant, *more]
    return [python(row, peers), str(TOOLS / row.script), *map(str, given)]
