"""One rank of a run as a program: `torchrun -m PROGRAM CONFIG.json [PARENT]`.

`headrace train` and its like start the ranks of one machine. For several, start torchrun on each
with the config as JSON, as a run's own `config.json` is, on a disk that all see (the timeout is
that of `stop_within` and ten seconds; torch 2.11 knows none but 30):

    TORCH_ELASTIC_SHUTDOWN_TIMEOUT=130 torchrun --nnodes=4 --nproc-per-node=8 --rdzv-backend=c10d \\
        --rdzv-endpoint=FIRST:29500 --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 \\
        -m trainer config.json

PROGRAM is `trainer` for AIM, `trainer.contrastive` for a filter. A signal to any rank, or to one
torchrun, stops all ranks with a checkpoint. Exit codes of a rank are 0: trained; 1: an error, which
it names; 75: stopped, with a checkpoint; 70: it stood still, see `<run>/hangs`. torchrun itself
ends with 0 or 1; a folder that HEADRACE_ENDS names gets a file for each rank that ended, called by
its number, with its code.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer.config import RunConfig
from trainer.control import ENDS, STOPPED, Stopped
from trainer.line import line
from trainer.train import train


def main(kind: type[RunConfig]) -> None:
    """Trains by the config that the first argument names, a fork of what the second one does.

    Ends the process with the rank's exit code.
    """
    code = _run(kind, *sys.argv[1:])
    if folder := os.environ.get(ENDS):
        Path(folder, os.environ.get("RANK", "0")).write_text(str(code))
    sys.exit(code)


def _run(kind: type[RunConfig], path: str, *parents: str) -> int:
    try:
        config = _config(kind, path)

        def report(fields: dict[str, Any]) -> None:
            print(line(fields, config.steps), flush=True)

        train(config, report, *parents)
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"{config.run}: {stopped}; its checkpoint is saved", file=sys.stderr)
        return STOPPED
    return 0


def _config(kind: type[RunConfig], path: str) -> RunConfig:
    """Of a fork's own config.json too, which names its parent besides."""
    try:
        fields = json.loads(Path(path).read_text())
        return kind.model_validate({k: v for k, v in fields.items() if k != "parent"})
    except (OSError, ValueError, AttributeError) as error:
        raise HeadraceError(f"{path}: not a training's config: {error}") from error
