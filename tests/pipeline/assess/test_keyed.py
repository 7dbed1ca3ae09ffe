import numpy as np

from pipeline.assess import keyed


def test_words_are_the_same_on_every_machine():
    assert keyed.words("bootstrap", 7).random_raw(3).tolist() == [
        7374374815250633934,
        15839545042854149035,
        4128994065364056919,
    ]
    assert keyed.permutation(8, "rows", 7).tolist() == [2, 1, 4, 6, 7, 0, 5, 3]


def test_another_seed_or_purpose_gives_other_words():
    found = {
        keyed.words(purpose, seed).random_raw()
        for purpose in ("bootstrap", "mismatched")
        for seed in (0, 1, -1, 1 << 70)
    }
    assert len(found) == 8


def test_every_number_is_drawn_as_often():
    drawn = keyed.below(keyed.words("dice", 0).random_raw(60_000), 6)
    counts = np.bincount(drawn)
    assert len(counts) == 6
    assert abs(counts - 10_000).max() < 400  # more than 4 standard deviations


def test_every_order_of_three_occurs_as_often():
    orders = [tuple(keyed.permutation(3, "order", seed).tolist()) for seed in range(3000)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts)
