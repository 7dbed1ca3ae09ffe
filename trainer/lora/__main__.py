"""`torchrun -m trainer.lora CONFIG.json [PARENT]`: one rank of a training with LoRA."""

from trainer import rank
from trainer.lora.config import LoraConfig

if __name__ == "__main__":
    rank.main(LoraConfig)
