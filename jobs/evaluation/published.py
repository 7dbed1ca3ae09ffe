"""What AIM published on frozen trunks: its 15 sets, its Table 6, and its Tables 7 and 8.

Accuracies in percent are those of AIM (arXiv 2401.08541). Two cells of Table 6 are damaged in the
text that we read: IN-1k of AIM-0.6B is as in Table 7, IN-1k of DINO is what the mean of its row
asks for. Sizes of sets are those of AIMv2's appendix (arXiv 2411.14402, Table B1), by the same
team. It has no iWildCam, whose size we therefore do not state.
"""

from typing import NamedTuple

PAPER = "AIM (arXiv 2401.08541)"


class Size(NamedTuple):
    """How large a set is."""

    train: int
    """Images to train on."""
    test: int
    """Images to judge on."""
    classes: int


class Benchmark(NamedTuple):
    """One of the 15 sets."""

    title: str
    size: Size | None
    """In the paper; None where it could not be read."""


BENCHMARKS = {
    "in1k": Benchmark("IN-1k", Size(1_281_167, 50_000, 1000)),
    "inat18": Benchmark("iNAT-18", Size(437_513, 24_426, 8142)),
    "cifar10": Benchmark("CIFAR-10", Size(50_000, 10_000, 10)),
    "cifar100": Benchmark("CIFAR-100", Size(50_000, 10_000, 100)),
    "food101": Benchmark("Food101", Size(75_750, 25_250, 101)),
    "dtd": Benchmark("DTD", Size(3_760, 1_880, 47)),
    "pets": Benchmark("Pets", Size(3_680, 3_669, 37)),
    "cars": Benchmark("Cars", Size(8_144, 8_041, 196)),
    "iwildcam": Benchmark("iWildCam", None),
    "camelyon17": Benchmark("Camelyon17", Size(302_436, 34_904, 2)),
    "pcam": Benchmark("PCAM", Size(262_144, 32_768, 2)),
    "rxrx1": Benchmark("RxRx1", Size(40_612, 9_854, 1139)),
    "eurosat": Benchmark("EuroSAT", Size(16_200, 5_400, 10)),
    "fmow": Benchmark("fMoW", Size(76_863, 19_915, 62)),
    "infographic": Benchmark("Infographic", Size(36_023, 15_582, 345)),
}
"""By the names that a config gives them, in the order of Table 6."""


class Published(NamedTuple):
    """A row of Table 6."""

    name: str
    trunk: str
    """Architecture, where the paper names one, and data."""
    mean: float
    """As printed."""
    values: tuple[float, ...]
    """Percent right, in the order of `BENCHMARKS`."""


# fmt: off
TABLE_6 = (
    Published("DINO", "B/8, IN-1k", 75.0, (
        80.1, 66.0, 97.8, 87.3, 89.5, 78.4, 92.3, 89.2, 58.5, 93.7, 90.2, 6.1, 98.2, 57.0, 41.1)),
    Published("iBOT", "L/16, IN-21k", 77.6, (
        83.5, 70.5, 99.2, 93.3, 93.5, 81.6, 92.8, 90.8, 61.8, 94.5, 90.0, 5.9, 98.0, 60.3, 47.7)),
    Published("DINOv2", "g/14 (higher res.), LVD", 81.9, (
        86.4, 84.5, 99.6, 95.2, 96.3, 86.3, 96.4, 95.6, 68.2, 96.5, 90.7, 8.0, 98.6, 66.7, 58.8)),
    Published("BEiT", "L/14, IN-21k", 65.4, (
        62.2, 44.4, 94.4, 78.7, 79.0, 64.0, 80.9, 69.5, 52.0, 92.8, 88.2, 4.2, 97.5, 47.7, 25.9)),
    Published("MAE", "H/14, IN-1k", 75.3, (
        80.9, 64.6, 97.1, 85.8, 90.2, 78.1, 95.0, 93.7, 58.1, 94.2, 89.8, 5.4, 98.1, 56.9, 42.2)),
    Published("MAE", "2B/14, IG-3B", 77.4, (
        82.2, 70.8, 97.5, 87.3, 93.4, 81.2, 95.1, 94.9, 57.8, 94.4, 90.3, 7.3, 98.2, 60.1, 50.2)),
    Published("AIM-0.6B", "DFN-2B+", 75.6, (
        78.5, 64.0, 97.2, 86.8, 90.1, 80.1, 93.0, 93.0, 57.9, 94.3, 90.0, 7.8, 98.4, 58.3, 45.2)),
    Published("AIM-1B", "DFN-2B+", 76.9, (
        80.6, 67.2, 98.2, 88.3, 91.6, 81.8, 93.4, 93.9, 58.6, 94.5, 90.0, 9.0, 98.6, 59.8, 47.5)),
    Published("AIM-3B", "DFN-2B+", 77.6, (
        82.2, 69.7, 98.4, 89.9, 92.7, 81.9, 94.1, 93.8, 58.8, 94.3, 90.4, 9.7, 98.5, 60.9, 48.9)),
    Published("AIM-7B", "DFN-2B+", 77.8, (
        82.4, 70.9, 98.6, 90.0, 93.1, 82.3, 93.8, 92.1, 59.5, 93.6, 90.7, 10.1, 98.6, 61.7, 49.6)),
    Published("AIM-7B (20th layer)", "DFN-2B+", 79.6, (
        84.0, 75.5, 98.9, 91.8, 94.1, 85.6, 95.4, 95.0, 61.4, 94.2, 90.5, 8.4, 98.5, 63.5, 57.7)),
)
# fmt: on
"""The attentive probe on frozen trunks."""

SIZES = ("0.6B", "1B", "3B", "7B")

TABLES_7_8 = {
    "attentive, last layers": (78.5, 80.6, 82.2, 82.4),
    "attentive, best layers": (79.4, 82.3, 83.3, 84.0),
    "LoRA rank 8": (81.0, 83.6, 85.5, 86.3),
}
"""IN-1k by what is trained, in the order of `SIZES`."""
