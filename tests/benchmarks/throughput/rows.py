"""The rows of the table: which tool, in which environment, doing which of the two jobs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
ROOT = Path(__file__).parents[3]
PASS, ANEW, FLOOR, OWN = "pass-through", "256 px, q95", "floor", "pass-through, own library"


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

    @property
    def name(self) -> str:
        """What --only chooses by."""
        return f"{self.tool} ({self.job})"


def _pair(tool: str, script: str, home: str) -> list[Row]:
    return [Row(PASS, tool, script, home), Row(ANEW, tool, script, home)]


ROWS = [
    Row(FLOOR, "bare decode, Pillow", "floor.py", "pillow"),
    Row(FLOOR, "bare decode, pillow-simd", "floor.py", ""),
    *_pair("headrace", "headrace_curate.py", "pillow"),
    Row(OWN, "headrace, pillow-simd", "headrace_curate.py", ""),
    *_pair("img2dataset (OpenCV)", "img2dataset_files.py", "img2dataset"),
    Row(PASS, "Data-Juicer", "data_juicer_run.py", "datajuicer"),
    *_pair("Daft", "daft_frame.py", "daft"),
    Row(OWN, "Daft, its own decoder", "daft_frame.py", "daft", (("DAFT_OWN", "1"),)),
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
    paths = [str(TOOLS)]
    if row.home in ("", "pillow"):
        paths.append(str(ROOT))
    if row.home == "pillow":
        paths.insert(0, str(peers / "pillow"))  # over the pillow-simd of headrace's environment
    quiet = {"TOKENIZERS_PARALLELISM": "false", "NO_ALBUMENTATIONS_UPDATE": "1"}
    return {**os.environ, **quiet, **dict(row.extra), "PYTHONPATH": os.pathsep.join(paths)}


def command(row: Row, peers: Path, pool: Path, out: Path) -> list[str]:
    """What is run."""
    given = [python(row, peers), str(TOOLS / row.script), "--pool", str(pool), "--out", str(out)]
    return [*given, "--anew"] if row.job == ANEW else given
