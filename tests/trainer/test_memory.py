"""Memory of the process that asks."""

import re
import sys
from pathlib import Path

import pytest
import torch

from trainer.memory import peak_gb


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says it a second time in /proc")
def test_the_peak_of_a_cpu_is_the_most_that_was_resident_in_gb():
    block = bytearray(100_000_000)  # so that it is a peak, and not under way
    del block
    peak = peak_gb(torch.device("cpu"))
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak == pytest.approx(int(told[1]) * 1024 / 1e9, rel=0.02)
