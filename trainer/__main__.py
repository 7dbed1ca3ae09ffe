"""`torchrun -m trainer CONFIG.json [PARENT]`: one rank of a run, from a resolved config."""

import sys
from pathlib import Path

from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig
from trainer.train import train


def main() -> None:
    """Trains by the config that the first argument names, a fork of what the second one does."""
    try:
        path, *parents = sys.argv[1:]
        config = TrainConfig.model_validate_json(Path(path).read_text())

        def report(step: int, loss: float) -> None:
            print(f"step {step}/{config.steps}  loss {loss:.4f}")

        train(config, report, *parents)
    except HeadraceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
