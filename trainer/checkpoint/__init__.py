"""Checkpoints of a run, which any number of ranks can load.

    <run>/checkpoints/00000240/        one folder a step, which all nodes share, or in a store
        __0_0.distcp … .metadata       model and optimiser, sharded (torch's DCP)
        COMPLETE                       written last: step, config, parent, stream, delivered

A folder without COMPLETE was cut short by a kill: it is never loaded and never counted.
"""

from trainer.checkpoint.finding import MARKER, newest, read_state
from trainer.checkpoint.loading import load, load_weights
from trainer.checkpoint.retention import keep_newest
from trainer.checkpoint.saving import Saver

__all__ = ["MARKER", "Saver", "keep_newest", "load", "load_weights", "newest", "read_state"]
