"""How long a checkpoint of a model with AdamW holds up the loop: one process, one disk.

    python -m tests.benchmarks.trainer.saving --parameters 1e8 --where /some/folder

On the GPU if there is one. `blocked` is what the loop waits for `save`; the first one also takes
the memory for the copies. `written` is what passes until the checkpoint is complete, which a
synchronous save would wait for.
"""

import argparse
import tempfile
import time
from contextlib import closing

import torch
from torch import nn

from trainer import checkpoint, distributed

WIDTH = 2048
SAVES = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--parameters", type=float, default=1e8, help="of the model")
    parser.add_argument("--where", default=None, help="folder to save in, or a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder, distributed.join() as world:
        model = nn.Sequential(
            *(nn.Linear(WIDTH, WIDTH) for _ in range(round(options.parameters / WIDTH**2)))
        ).to(world.device)
        with closing(checkpoint.Saver(folder, keep=1)) as saver:
            measure(model, saver, world.device)


def measure(model: nn.Module, saver: checkpoint.Saver, device: torch.device) -> None:
    optimiser = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{numbers / 1e6:.0f} M parameters, {12 * numbers / 1e9:.1f} GB with moments, {name}")
    print("blocked, s  written, s")
    for step in range(SAVES):
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.monotonic()
        saver.save(step, model, optimiser, {})
        blocked = time.monotonic() - began
        saver.wait()
        print(f"{blocked:10.2f} {time.monotonic() - began:11.2f}")


if __name__ == "__main__":
    main()
