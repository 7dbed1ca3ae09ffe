"""Real trainings of LoRA, as those of probes are made."""

from functools import partial

from tests.trainer.probing import runs
from trainer.lora.config import LoraConfig

here = partial(runs.here, kind=LoraConfig)
on_ranks = partial(runs.on_ranks, kind=LoraConfig)
