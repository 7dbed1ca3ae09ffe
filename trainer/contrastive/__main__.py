"""`torchrun -m trainer.contrastive CONFIG.json [PARENT]`: one rank of a filter's training."""

from trainer import rank
from trainer.contrastive.config import FilterConfig

if __name__ == "__main__":
    rank.main(FilterConfig)
