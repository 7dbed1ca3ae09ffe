"""A rank that gets a signal at a set place: `signalled.py CONFIG SIGNAL RANK STEP PHASE TIMES`.

As that rank enters that phase of that step (see watchdog.py) for that time. Everything else is the
trainer's own.
"""

import os
import signal
import sys

from trainer.config import TrainConfig
from trainer.rank import main
from trainer.watchdog import Watchdog

whole, seen = Watchdog.beat, 0


def beat(dog, step, phase):
    global seen
    whole(dog, step, phase)
    if (step, phase) == PLACE:
        seen += 1
        if seen == TIMES:
            signal.raise_signal(NUMBER)


if __name__ == "__main__":
    NUMBER, RANK = signal.Signals[sys.argv[2]], sys.argv[3]
    PLACE, TIMES = (int(sys.argv[4]), sys.argv[5]), int(sys.argv[6])
    del sys.argv[2:]
    if os.environ.get("RANK", "0") == RANK:
        Watchdog.beat = beat
    main(TrainConfig)
