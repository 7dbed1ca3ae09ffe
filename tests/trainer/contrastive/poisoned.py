"""A rank of a filter's training whose pixels are wrong at some steps, as tests/trainer/poisoned.py:
`poisoned.py CONFIG PIXEL RANK STEP ...`."""

import os
import sys

from trainer import rank
from trainer.contrastive import learner
from trainer.contrastive.config import FilterConfig

IMAGE = 2
whole = learner.jittered


def spoilt(batch, *rest):
    images = whole(batch, *rest).float()
    if int(os.environ.get("RANK", 0)) == RANK and batch.step in STEPS:
        images[IMAGE] = PIXEL
    return images


if __name__ == "__main__":
    PIXEL = float(sys.argv[2])
    RANK, *STEPS = map(int, sys.argv[3:])
    del sys.argv[2:]
    learner.jittered = spoilt
    rank.main(FilterConfig)
