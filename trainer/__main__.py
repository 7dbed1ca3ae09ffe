"""`torchrun -m trainer CONFIG.json [PARENT]`: one rank of a run, from a resolved config.

`headrace train` starts the ranks of one machine. For several, start torchrun on each of them with
the config as JSON, as a run's own `config.json` is, on a disk that all see (the timeout is that of
`stop_within` and ten seconds; torch 2.11 knows none but 30):

    TORCH_ELASTIC_SHUTDOWN_TIMEOUT=130 torchrun --nnodes=4 --nproc-per-node=8 --rdzv-backend=c10d \\
        --rdzv-endpoint=FIRST:29500 --signals-to-handle=SIGTERM,SIGINT,SIGUSR1 \\
        -m trainer config.json

A signal to any rank, or to one torchrun, stops all ranks with a checkpoint. Exit codes of a rank
are 0: trained; 1: an error, which it names; 75: stopped, with a checkpoint; 70: it stood still, see
`<run>/hangs`. torchrun itself ends with 0 or 1; a folder that HEADRACE_ENDS names gets a file for
each rank that ended, called by its number, with its code.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig
from trainer.control import ENDS, STOPPED, Stopped
from trainer.line import line
from trainer.train import train


def main() -> None:
    """Trains by the config that the first argument names, a fork of what the second one does."""
    code = _run(*sys.argv[1:])
    if folder := os.environ.get(ENDS):
        Path(folder, os.environ.get("RANK", "0")).write_text(str(code))
    sys.exit(code)


def _run(path: str, *parents: str) -> int:
    try:
        config = _config(path)

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


def _config(path: str) -> TrainConfig:
    """Of a fork's own config.json too, which names its parent besides."""
    try:
        fields = json.loads(Path(path).read_text())
        return TrainConfig.model_validate({k: v for k, v in fields.items() if k != "parent"})
    except (OSError, ValueError, AttributeError) as error:
        raise HeadraceError(f"{path}: not a training's config: {error}") from error


if __name__ == "__main__":
    main()
