"""`torchrun -m trainer.probing CONFIG.json [PARENT]`: one rank of a training of probes."""

from trainer import rank
from trainer.probing.config import ProbeConfig

if __name__ == "__main__":
    rank.main(ProbeConfig)
