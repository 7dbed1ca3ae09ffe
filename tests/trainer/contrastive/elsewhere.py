"""A rank of a filter's run whose machine has other files: `elsewhere.py CONFIG FOLDER`.

The last rank stands in another folder. Everything else is the trainer's own.
"""

import os
import sys

from trainer import rank
from trainer.contrastive.config import FilterConfig

if __name__ == "__main__":
    os.chdir(os.path.join(sys.argv.pop(), os.environ["RANK"]))
    rank.main(FilterConfig)
