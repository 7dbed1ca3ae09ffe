"""The rows of the table: which tool, in which environment, doing which of the two jobs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TOOLS, ROOT = HERE / "tools", HERE.parents[2]
PASS, ANEW, FLOOR = "pass-through", "256 px, q95", "floor"

OWN, NO_HASH = ", own way", ", no hash"
"""Ends of a job's name: with an image library or a draft mode of its own; with less to do."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    job: str
    tool: str
    script: str
    home: str
    """Folder of PEERS with the tool's environment; `pillow` is headrace's, with Pillow's wheel."""
    extra: tuple[tuple[str, str], ...] = ()
    """Environment variables of its own."""
    draft: bool = False
    """For headrace's environment: whether a JPEG may be decoded to less than RGB."""

    @property
    def name(self) -> str:
        """What --only chooses by."""
        return f"{self.tool} ({self.job})"

    @property
    def base(self) -> str:
        """The job without its end: what it is compared with."""
        return self.job.removesuffix(OWN).removesuffix(NO_HASH)


def _pair(tool: str, script: str, home: str, end: str = "", **more: object) -> list[Row]:
    return [Row(job + end, tool, script, home, **more) for job in (PASS, ANEW)]


CURATE, FILES = "headrace_curate.py", "img2dataset_files.py"
ROWS = [
    Row(FLOOR, "bare decode, Pillow", "floor.py", "pillow"),
    Row(FLOOR, "bare decode, pillow-simd", "floor.py", ""),
    *_pair("headrace", CURATE, "pillow"),
    Row(PASS + OWN, "headrace, draft", CURATE, "pillow", draft=True),
    *_pair("headrace, pillow-simd, draft", CURATE, "", OWN, draft=True),
    *_pair("img2dataset (OpenCV)", FILES, "img2dataset", NO_HASH),
    *_pair("img2dataset, then hash", FILES, "img2dataset", extra=(("THEN_HASH", "1"),)),
    Row(PASS, "Data-Juicer", "data_juicer_run.py", "datajuicer"),
    *_pair("Daft", "daft_frame.py", "daft"),
    Row(PASS + OWN, "Daft, its own decoder", "daft_frame.py", "daft", (("DAFT_OWN", "1"),)),
    *_pair("Ray Data", "ray_data.py", "raydata"),
]


def python(row: Row, peers: Path) -> str:
    """The interpreter of a row."""
    return (
        sys.executable if row.home in ("", "pillow") else str(peers / row.home / "bin" / "python")
    )


def missing(row: Row, peers: Path) -> str | None:
    """Why a row cannot run, if it cannot."""
    if row.home == "pillow":
        found = (peers / "pillow" / "PIL").is_dir()
    else:
        found = Path(python(row, peers)).exists()
    return None if found else f"no {peers / row.home}: run throughput/install.sh"


def environment(row: Row, peers: Path) -> dict[str, str]:
    """The runner's own, with the modules that the row imports."""
    paths = [TOOLS]
    if row.home in ("", "pillow"):
        paths.append(ROOT)
        if not row.draft:
            paths.insert(0, HERE / "no_draft")
    if row.home == "pillow":
        paths.insert(0, peers / "pillow")  # over the pillow-simd of headrace's environment
    quiet = {"TOKENIZERS_PARALLELISM": "false", "NO_ALBUMENTATIONS_UPDATE": "1"}
    path = os.pathsep.join(map(str, paths))
    return {**os.environ, **quiet, **dict(row.extra), "PYTHONPATH": path}


def command(row: Row, peers: Path, pool: Path, out: Path) -> list[str]:
    """What is run."""
    given = [python(row, peers), str(TOOLS / row.script), "--pool", str(pool), "--out", str(out)]
    return [*given, "--anew"] if row.base == ANEW else given
