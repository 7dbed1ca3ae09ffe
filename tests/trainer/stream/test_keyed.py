import numpy as np
import pytest

from trainer.stream.keyed import base_key, below, mix, permute, uniforms

KEYS = (0, 1, 12345, 2**63 + 5, 2**64 - 1)


@pytest.mark.parametrize("key", KEYS)
def test_permute_is_a_bijection_of_every_small_range(key):
    for n in range(1, 301):
        assert sorted(permute(np.arange(n), n, key).tolist()) == list(range(n)), n


@pytest.mark.slow
def test_permute_is_a_bijection_of_every_range_up_to_a_thousand():
    for n in range(1, 1001):
        for key in KEYS:
            assert (np.sort(permute(np.arange(n), n, key)) == np.arange(n)).all(), n


@pytest.mark.parametrize("n", [2**40, 2**40 - 1, 2**40 + 1, 2_000_000_000, 2**62])
def test_permute_sends_no_two_of_a_million_numbers_of_a_big_range_to_one_place(n):
    x = np.concatenate([np.arange(500_000), n - 1 - np.arange(500_000)])
    out = permute(x, n, 7)
    assert out.min() >= 0
    assert out.max() < n
    assert len(np.unique(out)) == len(x)


def test_permute_of_arrays_is_permute_of_each_element():
    n = np.array([1, 5, 300, 2**40, 2**62, 64])
    x = np.array([0, 4, 123, 2**39, 2**62 - 1, 0])
    keys = mix(3, np.arange(6))
    alone = [permute(int(x[i]), int(n[i]), keys[i : i + 1])[0] for i in range(6)]
    assert permute(x, n, keys).tolist() == alone


def test_different_keys_give_different_permutations():
    orders = [permute(np.arange(20), 20, key) for key in range(1000)]
    assert len({tuple(order.tolist()) for order in orders}) == 1000


@pytest.mark.parametrize("n", [16, 61, 256])
def test_every_number_goes_to_every_place_about_equally_often(n):
    keys = mix(1, np.arange(40_000))
    for x in (0, n // 2, n - 1):
        counts = np.bincount(permute(x, n, keys), minlength=n)
        assert np.abs(counts - 40_000 / n).max() < 6 * (40_000 / n) ** 0.5


@pytest.mark.parametrize("n", [16, 61, 256])
def test_neighbours_do_not_stay_neighbours(n):
    keys = mix(2, np.arange(40_000))
    for x in (0, n // 2):
        distance = (permute(x + 1, n, keys) - permute(x, n, keys)) % n
        counts = np.bincount(distance, minlength=n)
        expected = 40_000 / (n - 1)
        assert counts[0] == 0
        assert np.abs(counts[1:] - expected).max() < 0.2 * expected + 4 * expected**0.5


def test_the_ciphers_golden_values_have_not_moved():
    """A change here changes the order of every run under way."""
    assert base_key("order", "web", 7) == 0x8E83866DE88ED8E7
    assert base_key(0) == 0x9C09BF85306200AC
    expected = [0x7F6A6FB2086B7417, 0x49E773CAF9E2B04A, 0x3205C29451F7E4D5]
    assert mix(12345, np.arange(3)).tolist() == expected
    assert mix(2**63 + 1, -1, 2).tolist() == [0x74E6348669400DA3]
    assert uniforms(7, 2).tolist() == [[0.012846003189733946, 0.7029249411845438]]
    assert permute(np.arange(10), 10, 12345).tolist() == [2, 7, 1, 4, 6, 5, 9, 8, 0, 3]
    assert permute(np.arange(2) * 10**12, 2**62, 99).tolist() == [
        210760869246343240,
        4269121823053363570,
    ]


def test_every_order_of_a_small_range_occurs_about_as_often_as_any_other():
    keys = mix(base_key("orders"), np.arange(48_000))
    orders = np.stack([permute(x, 4, keys) for x in range(4)], axis=1)
    _, counts = np.unique(orders @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == 24
    assert counts.min() > 1850  # of 2,000 expected, standard deviation 44
    assert counts.max() < 2150


def test_a_number_outside_the_range_is_refused():
    with pytest.raises(ValueError, match=r"x must be in \[0, n\)"):
        permute(5, 5, 0)


def test_names_and_numbers_of_a_base_key_do_not_run_into_each_other():
    parts = [("ab", "c"), ("a", "bc"), ("abc",), (1, "2"), ("1", 2), (12,), ("12",), ("a", "b", "")]
    assert len({base_key(*part) for part in parts}) == len(parts)


def test_the_order_of_mixed_values_matters():
    assert mix(0, 1, 2) != mix(0, 2, 1)
    assert mix(0, 1) != mix(1, 0)
    assert mix(0, 0) != mix(0, 0, 0)


def test_mix_takes_values_up_to_2_to_the_62_and_broadcasts_them():
    values = np.array([0, 1, 2**32, 2**62 - 1, 2**62])
    both = mix(5, values[:, None], values[None, :])
    assert both.shape == (5, 5)
    assert len(np.unique(both)) == 25
    assert both[3, 2] == mix(5, 2**62 - 1, 2**32)[0]


def test_uniforms_are_in_the_unit_interval_and_spread_evenly():
    draws = uniforms(mix(4, np.arange(20_000)), 3)
    assert draws.shape == (20_000, 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        tenths = np.bincount((column * 10).astype(int), minlength=10)
        assert np.abs(tenths - 2000).max() < 200
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize("n", [1, 2, 7, 255, 1000])
def test_below_is_in_range_and_hits_every_number_about_equally_often(n):
    drawn = below(mix(6, np.arange(200 * n)), n)
    counts = np.bincount(drawn, minlength=n)
    assert len(counts) == n  # none is n or more; bincount refuses negative ones
    assert np.abs(counts - 200).max() < 6 * 200**0.5


def test_below_covers_a_range_of_2_to_the_62():
    drawn = below(mix(6, np.arange(1000)), 2**62)
    assert drawn.min() >= 0
    assert 2**61 < drawn.max() < 2**62
    assert np.abs(drawn.mean() / 2**61 - 1) < 0.1
