"""The line that a person reads, to the letter."""

import pytest

from trainer.line import duration, line, shares

FIELDS = {
    "step": 1200,
    "loss": 0.43118,
    "grad_norm": 0.8712,
    "lr": 9.6e-4,
    "images_per_second": 3210.4,
    "waits": {"fetch": 0.001, "decode": 0.002, "transfer": 0.001},
    "tflops": 507.2,
    "mfu": 0.5128,
    "drawn": {"imagenet": 199, "web": 801},
    "skipped": 2,
    "bad": {"imagenet": {"truncated": 3}, "web": {"not_an_image": 9, "too_large": 1}},
    "digest": "8f14e45f",
    "memory_gb": 41.234,
    "eta_seconds": 273_840,
}
BEGIN = "step   1200/500000  loss 0.4312  norm 0.87  lr 9.60e-04  "


def test_a_line_says_how_far_how_well_how_fast_and_what_went_wrong():
    assert line(FIELDS, 500_000) == (
        f"{BEGIN}3,210 img/s  MFU 51.3%  data 0.4%  web 80.1% imagenet 19.9%  "
        "skipped 2  damaged 13  41.2 GB  ETA 3d 04h"
    )


def test_the_line_of_a_long_run_stays_near_160_columns():
    long = FIELDS | {"step": 1_199_990, "images_per_second": 54321.0, "skipped": 12}
    assert len(line(long, 1_250_000)) <= 164


def test_without_a_peak_it_has_the_flops_and_on_a_slow_machine_more_digits():
    slow = {k: v for k, v in FIELDS.items() if k != "mfu"}
    slow |= {"tflops": 0.012345, "images_per_second": 7.258}
    assert line(slow, 500_000).startswith(f"{BEGIN}7.26 img/s  12.3 GFLOP/s  data 0.4%  web")


def test_a_fast_card_without_a_peak_has_tflops():
    fast = {k: v for k, v in FIELDS.items() if k != "mfu"}
    assert "  507 TFLOP/s  " in line(fast, 500_000)


def test_what_was_not_measured_is_left_out():
    few = ("step", "loss", "grad_norm", "lr", "images_per_second", "waits", "drawn", "bad")
    assert line({name: FIELDS[name] for name in few}, 500_000) == (
        f"{BEGIN}3,210 img/s  data 0.4%  web 80.1% imagenet 19.9%  skipped 0  damaged 13"
    )


def test_of_many_probes_the_best_of_each_kind_is_told_on_what_chooses():
    def cell(kind: str, test: int, held_out: int | None) -> dict:
        held = held_out and {"n": 50, "top1": held_out}
        return {"kind": kind, "test": {"n": 200, "top1": test}, "held_out": held}

    probes = {"a": cell("attentive", 90, 20), "b": cell("attentive", 80, 30)}
    probes |= {"c": cell("linear", 70, None), "d": cell("linear", 10, None)}
    assert line({"step": 7, "probes": probes}, 10) == (
        "step  7/10  validation  attentive 60.0%  linear 35.0%"
    )
    assert line({"step": 7, "probes": {"lora": {"test": {"n": 8, "top1": 6}}}}, 10) == (
        "step  7/10  validation  lora 75.0%"
    )


def test_a_loss_without_a_value_says_so():
    odd = line(FIELDS | {"loss": None, "grad_norm": float("inf")}, 500_000)
    assert "  loss not finite  norm not finite  lr " in odd


def test_the_slow_rank_stands_at_the_end():
    slow = {"rank": 13, "phase": "data", "seconds": 5.5}
    assert line(FIELDS | {"slow": slow}, 500_000).endswith("ETA 3d 04h  rank 13 slow (data)")
    assert line(FIELDS | {"slow": None}, 500_000).endswith("ETA 3d 04h")


def test_a_validation_has_a_line_of_its_own():
    fields = {"step": 50, "validation": {"causal": 0.51239, "prefix": 0.4}, "curve": [0.6, 0.5]}
    assert line(fields, 300) == "step  50/300  validation  causal 0.5124  prefix 0.4000"


def test_of_many_sources_the_largest_are_named():
    assert shares({"a": 1, "b": 5, "c": 2, "d": 1, "e": 1}) == "b 50.0% c 20.0% a 10.0% +2 more"
    assert shares({"a": 1, "b": 1, "c": 2}) == "c 50.0% a 25.0% b 25.0%"


def test_nothing_drawn_has_no_shares():
    assert shares({}) == shares({"a": 0}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45.4, "45s"),
        (59.7, "1m 00s"),
        (725, "12m 05s"),
        (4 * 3600 + 12 * 60 + 59, "4h 12m"),
        (86_400, "1d 00h"),
        (20 * 86_400 + 3600, "20d 01h"),
    ],
)
def test_a_duration_is_its_two_largest_units(seconds, text):
    assert duration(seconds) == text
