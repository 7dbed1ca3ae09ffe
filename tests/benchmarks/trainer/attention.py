"""Ways to compute prefix attention, side by side: forward and backward, beside the mask.

    python -m tests.benchmarks.trainer.attention

One timed run is the attention of one step: all blocks, from packed q, k and v (strided, as in a
block) to their gradient. What is seen is made before, once, and timed by itself. The candidates
alternate; a ratio is of two runs of one round. Each candidate must first agree with the mask, and
says why where it cannot run. TFLOP/s counts every pair of patches, seen or not.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from tests.benchmarks import comparison
from tests.benchmarks.trainer.attention_candidates import CANDIDATES, MASK, Attend, Candidate

CLOSE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""How far a candidate may be from the mask, as a share of the norm."""


@dataclass(frozen=True)
class Shape:
    """The attention of one step."""

    name: str
    images: int
    heads: int
    length: int
    head_dim: int
    depth: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.images} images of {self.length} patches, {self.depth} blocks of "
            f"{self.heads} heads of {self.head_dim}"
        )

    @property
    def flops(self) -> float:
        """Two products forward; the backward pass redoes one and has four more."""
        pairs = self.images * self.heads * self.length**2
        return 3.5 * 4 * pairs * self.head_dim * self.depth


CPU_SHAPES = (
    Shape("aim-demo", 16, 3, 64, 64, depth=4),
    Shape("a sixth of aim-600m's heads", 4, 2, 256, 128, depth=12),
)


class Bench:
    """The inputs of one shape, and the timing."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype):
        generator = torch.Generator().manual_seed(0)
        draw = (shape.images, shape.length, 4, shape.heads * shape.head_dim)
        drawn = torch.randn(draw, generator=generator).to(device, dtype)
        self.shape, self.device = shape, device
        self.qkv = drawn[:, :, :3].flatten(2).requires_grad_()
        self.grad = drawn[:, :, 3].contiguous()
        half = torch.randint(1, shape.length, (shape.images // 2,), generator=generator)
        self.prefix = torch.stack([half, shape.length - half], 1).flatten().to(device)  # pairs

    def begin(self, candidate: Candidate) -> Attend:
        """What comes once a forward."""
        return candidate.begin(self.prefix, self.shape.length, self.qkv.dtype)

    def block(self, call: Attend) -> tuple[Tensor, Tensor]:
        """Forward and backward through one block's attention."""
        q, k, v = self.qkv.unflatten(-1, (3, self.shape.heads, -1)).permute(2, 0, 3, 1, 4)
        out = call(q, k, v).transpose(1, 2).flatten(2)
        return out.detach(), *torch.autograd.grad(out, self.qkv, self.grad)

    def check(self, candidate: Candidate) -> None:
        """Raises ValueError where it is not what the mask gives."""
        prefix = candidate.prefix(self.prefix, self.shape.length)
        wanted = self.block(MASK.begin(prefix, self.shape.length, self.qkv.dtype))
        for one, other in zip(self.block(self.begin(candidate)), wanted, strict=True):
            error = float((one - other).norm() / other.norm())
            if not error < CLOSE[self.qkv.dtype]:
                raise ValueError(f"{error:.1%} off the mask")

    def ready(self, candidate: Candidate) -> Callable[[], object]:
        """All blocks of a step, warm; on a GPU as one graph, so that no launch is waited for."""
        call = self.begin(candidate)

        def step() -> None:
            for _ in range(self.shape.depth):
                self.block(call)

        if self.device.type != "cuda":
            step()
            return step
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def seconds(self, call: Callable[[], object]) -> float:
        """To its end, on the device too."""
        self._wait()
        began = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def compare(shape: Shape, device: torch.device, dtype: torch.dtype, runs: int) -> Iterator[str]:
    """The table of one shape, line by line."""
    torch.compiler.reset()  # there is a limit to the shapes that one function is compiled for
    bench, steps = Bench(shape, device, dtype), {}
    for candidate in CANDIDATES:
        try:
            bench.check(candidate)
            steps[candidate] = bench.ready(candidate)
        except Exception as error:  # whatever a backend says it lacks
            print(f"{candidate.name}: {str(error)[:100]}", flush=True)
    found = comparison.alternating(
        list(steps), runs, lambda _, candidate: bench.seconds(steps[candidate])
    )
    yield f"\n{shape}\n"
    yield "| candidate | ms | ÷ mask | min to max | TFLOP/s | once, ms |"
    yield "|---|---|---|---|---|---|"
    for candidate, each in found.items():
        ratios = sorted(one / mask for one, mask in zip(each, found[MASK], strict=True))
        once = median(bench.seconds(lambda c=candidate: bench.begin(c)) for _ in range(5))
        yield (
            f"| {candidate.name} | {median(each) * 1e3:.2f} | {median(ratios):.2f} "
            f"| {ratios[0]:.2f} to {ratios[-1]:.2f} | {shape.flops / median(each) / 1e12:.3g} "
            f"| {once * 1e3:.2f} |"
        )


def report(shapes: tuple[Shape, ...], device: torch.device, dtype: torch.dtype, runs: int) -> None:
    """Prints what it runs on, then a table for each shape."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    where = name or f"CPU, threads: {torch.get_num_threads()}"
    print(f"{where}, torch {torch.__version__}, {dtype}, {runs} runs", flush=True)
    warnings.simplefilter("ignore")  # a backend that cannot run warns of each reason
    for shape in shapes:
        for line in compare(shape, device, dtype, runs):
            print(line, flush=True)


def tiny(shape: Shape) -> Shape:
    """To try the program, not to measure."""
    return replace(shape, images=2, heads=1, depth=1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=21, help="timed runs of each (default 21)")
    report(CPU_SHAPES, torch.device("cpu"), torch.float32, parser.parse_args().runs)


if __name__ == "__main__":
    main()
