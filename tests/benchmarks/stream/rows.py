"""The rows of the tables: which tool, in which environment, and what it can do."""

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import PIL

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
    """With the pillow-simd of headrace's own environment, whosever row it is."""
    converts: bool = False
    reads: bool = True
    """Whether it gives batches: floors don't."""
    resumes: bool = False
    """Whether it has a state to go on from: the resume and the elastic test are of these."""
    reads_s3: bool = False
    """Whether it is also run from S3: one row of each tool is."""

    @property
    def data(self) -> str:
        """Name of the folder with what it made of the pool: variants of a tool share it."""
        return self.script.removesuffix(".py")


FLOOR, STREAM = "floor.py", "ours.py"
FULL = {"converts": True, "resumes": True, "reads_s3": True}
READERS = [
    Row(OURS, STREAM, **FULL),
    Row("webdataset", "webdataset_tars.py", "webdataset", reads_s3=True),
    Row("MosaicML streaming", "mosaicml_mds.py", "mosaicml", **FULL),
    Row("litdata", "litdata_chunks.py", "litdata", **FULL),
]
FLOORS = [
    Row("floor, 2 processes", FLOOR, variant="processes", reads=False),
    Row("floor, 2 threads", FLOOR, variant="threads", reads=False),
]


def with_simd(row: Row) -> Row:
    """The same row with pillow-simd, for its speed alone."""
    alone = {"converts": False, "resumes": False, "reads_s3": False}
    return replace(row, tool=f"{row.tool}, pillow-simd", simd=True, **alone)


ROWS = [
    *FLOORS,
    *READERS,
    Row("DALI", "dali_pipeline.py", "dali", reads_s3=True),
    Row(f"{OURS}, block of 1", STREAM, variant='{"block": 1}'),
    Row(f"{OURS}, jitter", STREAM, variant='{"augment": {"jitter": {}}}'),
    *map(with_simd, FLOORS + READERS),
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
    if row.simd and ".post" not in PIL.__version__:
        return f"headrace's own environment has Pillow {PIL.__version__}, not pillow-simd"
    return None


def environment(row: Row, peers: Path) -> dict[str, str]:
    """The runner's own, with the modules that the row imports."""
    paths = [simd(peers) if row.simd else peers / "pillow"]
    paths += [TOOLS] if row.home else [TOOLS, ROOT]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def simd(peers: Path) -> Path:
    """The pillow-simd of headrace's own environment by itself, to be laid over any other."""
    folder = peers / f"pillow-{PIL.__version__}"
    if not folder.exists():
        shutil.copytree(Path(PIL.__file__).parent, folder / "PIL")
    return folder


def command(row: Row, peers: Path, pool: Path, data: Path, *more: object) -> list[str]:
    """What is run: `more` are arguments of tools/same_work.py."""
    given = ["--pool", pool, "--data", data, "--variant", row.variant, *more]
    return [python(row, peers), str(TOOLS / row.script), *map(str, given)]
