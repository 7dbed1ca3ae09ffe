"""FLOPs of a training step: `trainer.flops` against torch's own counter, in less than a minute.

    python -m tests.benchmarks.trainer.flops

Steps of small models are run on the CPU, forward and backward, and steps of the named sizes without
memory (torch's meta device: the same calls, no numbers). Attention runs as plain products (torch's
`SDPBackend.MATH`): of the fused kernels of a CPU its counter knows nothing. Plain products run what
a causal mask hides, so `causal` stands below 1: it is counted as a kernel runs it that leaves this
out. `flex` has no backward pass on a CPU and is missing.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainer.flops import Flops, image_flops
from trainer.model.aim import AIM
from trainer.model.sizes import SIZES, ModelConfig

IMAGES = 4
SHAPE = {
    "image_size": 56,
    "patch_size": 14,
    "embed_dim": 64,
    "depth": 3,
    "num_heads": 2,
    "head_width": 96,
    "head_depth": 2,
}
CASES = [
    ("mlp", None, "mask", 1.0),
    ("mlp", None, "mask", 0.5),
    ("mlp", 512, "mask", 0.5),
    ("transformer", None, "mask", 1.0),
    ("transformer", None, "mask", 0.5),
    ("transformer", 512, "full", 0.5),
    ("none", None, "mask", 1.0),
    ("none", 512, "full", 0.5),
    ("mlp", None, "causal", 0.5),
    ("mlp", None, "causal_overwrite", 0.5),
]
"""Kind of head, outputs, attention kernel, share of the rows that are scored."""


def counted(
    config: ModelConfig, outputs: int | None, kernel: str, rows: int, device: str
) -> tuple[float, float]:
    """What torch counts for one image: of the forward pass, and of forward and backward."""
    with torch.device(device):
        model = AIM(config, outputs)
        images = torch.zeros(IMAGES, 3, config.image_size, config.image_size)
        prefix = torch.full((IMAGES,), config.num_patches // 2)
        places = torch.arange(IMAGES)[:, None] * config.num_patches + torch.arange(rows)
    model.kernel = kernel
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = model(images, prefix, places.flatten()).sum()
        forward = counter.get_total_flops()
        loss.backward()
    return forward / IMAGES, counter.get_total_flops() / IMAGES


def compare(
    config: ModelConfig, outputs: int | None, kernel: str, share: float, device: str
) -> tuple[Flops, float, float]:
    """Ours, and torch's of the forward pass and of the whole step."""
    rows = int(share * config.num_patches)
    ours = image_flops(config, outputs, kernel, rows)
    return ours, *counted(config, outputs, kernel, rows, device)


def row(name: str, outputs: int | None, kernel: str, share: float, found: tuple) -> str:
    """One line of the table."""
    ours, forward, training = found
    cells = [name, outputs or "pixels", kernel, f"{share:.0%}"]
    cells += [f"{ours.training / 1e9:.4f}", f"{training / 1e9:.4f}"]
    cells += [f"{ours.forward / forward:.4f}", f"{ours.training / training:.4f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    print("| model | outputs | attention | rows scored | GFLOPs ours | torch's | forward | step |")
    print("|---" * 8 + "|")
    for head, *rest in CASES:
        config = ModelConfig(**SHAPE, head_kind=head)
        print(row(f"small, head {head}", *rest, compare(config, *rest, "cpu")))
    for name, config in SIZES.items():
        for share in (1.0, 0.5):
            found = compare(config, None, "mask", share, "meta")
            print(row(name, None, "mask", share, found), flush=True)


if __name__ == "__main__":
    main()
