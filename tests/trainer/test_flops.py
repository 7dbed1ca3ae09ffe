"""FLOPs against torch's counter and the specification; MFU and the cards it is a share of."""

import pytest
import torch

from tests.benchmarks.trainer.flops import SHAPE, compare
from trainer.flops import (
    CARDS,
    attended_pairs,
    image_flops,
    mfu,
    peak_flops,
    peak_of,
    tflops,
    utilisation,
)
from trainer.model.aim import count_parameters
from trainer.model.sizes import SIZES, ModelConfig


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("outputs", [None, 512])
@pytest.mark.parametrize("head", ["mlp", "transformer", "none"])
def test_a_step_has_the_flops_that_torch_counts(head, outputs, share):
    config = ModelConfig(**SHAPE, head_kind=head)
    ours, forward, training = compare(config, outputs, "mask", share, "meta")
    assert (ours.forward, ours.training) == (forward, training)


def test_a_step_with_numbers_has_those_of_one_without():
    config = ModelConfig(**SHAPE, head_kind="transformer")
    on_cpu, on_meta = (compare(config, None, "full", 0.5, device) for device in ("cpu", "meta"))
    assert on_cpu == on_meta


def test_a_mask_of_pairs_and_no_mask_run_all_of_them_and_two_passes_run_both():
    pairs = {kernel: attended_pairs(kernel, 256) for kernel in ("mask", "full", "causal")}
    assert pairs == {"mask": 65536, "full": 65536, "causal": 32896}
    assert attended_pairs("causal_overwrite", 256) == 65536 + 32896


def visible_tiles(prefix: int, patches: int, tile: int) -> int:
    """Pairs of the tiles that hold a visible one, pair by pair."""
    pairs = [(i, j) for i in range(patches) for j in range(patches)]
    run = {(i // tile, j // tile) for i, j in pairs if j < prefix or j <= i}
    return sum((i // tile, j // tile) in run for i, j in pairs)


@pytest.mark.parametrize("patches", [4, 8, 10])
def test_flex_runs_the_tiles_that_hold_something_visible(patches, monkeypatch):
    monkeypatch.setattr("trainer.flops.TILE", 4)
    runs = [visible_tiles(prefix, patches, 4) for prefix in range(1, patches)]
    assert attended_pairs("flex", patches) == pytest.approx(sum(runs) / len(runs))


def test_a_kernel_without_a_count_is_refused():
    with pytest.raises(ValueError, match="no FLOPs known of attention kernel 'auto': mask, full"):
        image_flops(SIZES["aim-demo"], kernel="auto")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("aim-600m", 1.70e12), ("aim-1b", 2.5e12), ("aim-3b", 4.9e12), ("aim-7b", 1.06e13)],
)
def test_the_paper_s_sizes_have_the_flops_of_the_specification(name, expected):
    """AIM.md section 1.1: 6 · (trunk + head) · 256 + attention, the head on all patches."""
    config = SIZES[name]
    training = image_flops(config).training
    digits = len(f"{expected:g}".replace(".", "").partition("e")[0])
    assert float(f"{training:.{digits - 1}e}") == expected
    parts = count_parameters(config)
    weights = 6 * (parts.backbone + parts.pixel_head) * config.num_patches
    assert training - 3 * image_flops(config).attention == pytest.approx(weights, rel=2e-3)


def test_half_the_rows_are_half_of_the_head_and_nothing_else():
    config = SIZES["aim-600m"]
    whole, half = image_flops(config), image_flops(config, rows=128)
    assert half == whole._replace(head=whole.head / 2)


def test_pixels_have_no_gradient():
    config = ModelConfig(**SHAPE)
    flops = image_flops(config)
    assert flops.embedding == 2 * 16 * 588 * 64
    assert flops.training == 3 * flops.forward - flops.embedding


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100-PCIE-40GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA A10", 125e12),
        ("AMD Instinct MI300X", 1307e12),
        ("NVIDIA A10G", None),
        ("NVIDIA GeForce RTX 4090", None),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_a_card_is_known_by_its_drivers_name_and_its_slices_and_cousins_are_not(name, peak):
    assert peak_of(name) == peak


def test_every_card_says_where_its_figure_is_from():
    assert all("data sheet" in card.source for card in CARDS)
    assert len({card.words for card in CARDS}) == len(CARDS)


def test_a_cpu_has_no_peak_and_so_no_mfu():
    assert peak_flops(torch.device("cpu")) is None
    assert mfu(1000.0, 1e12, 8, None) is None
    assert utilisation(12.3456, 1e9, 1, None) == {"tflops": 0.01235}


def test_mfu_is_one_device_s_share_of_the_speed_of_all():
    assert tflops(800.0, 2e12, 4) == 400
    assert mfu(800.0, 2e12, 4, 1000e12) == pytest.approx(0.4)
    assert utilisation(800.0, 2e12, 4, 1000e12) == {"tflops": 400.0, "mfu": 0.4}
