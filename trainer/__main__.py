"""`torchrun -m trainer CONFIG.json`: one rank of a run, from a resolved config."""

import sys
from pathlib import Path

from pipeline.format.errors import HeadraceError
from trainer.config import TrainConfig
from trainer.train import train


def main() -> None:
    """Trains by the config that the only argument names; `headrace train` writes it."""
    try:
        config = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
        train(config, lambda step, loss: print(f"step {step}/{config.steps}  loss {loss:.4f}"))
    except HeadraceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
