"""`torchrun -m trainer CONFIG.json [PARENT]`: one rank of a run of AIM; see rank.py."""

from trainer.config import TrainConfig
from trainer.rank import main

if __name__ == "__main__":
    main(TrainConfig)
