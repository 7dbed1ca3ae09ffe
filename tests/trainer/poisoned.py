"""A rank of a run whose pixels are wrong at some steps: `poisoned.py CONFIG PIXEL RANK STEP ...`.

One image of that rank, filled with that float; under torchrun or alone. Everything else is the
trainer's own.
"""

import os
import sys

from trainer import aim
from trainer.config import TrainConfig
from trainer.rank import main

IMAGE = 2
whole = aim.jittered


def spoilt(batch, *rest):
    images = whole(batch, *rest).float()
    if int(os.environ.get("RANK", 0)) == RANK and batch.step in STEPS:
        images[IMAGE] = PIXEL
    return images


if __name__ == "__main__":
    PIXEL = float(sys.argv[2])
    RANK, *STEPS = map(int, sys.argv[3:])
    del sys.argv[2:]
    aim.jittered = spoilt
    main(TrainConfig)
