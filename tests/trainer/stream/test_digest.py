import random

from trainer.stream.digest import MODULUS, sample_hash, text, total

SAMPLE = {"step": 3, "lane": 1, "slot": 2, "source": "web", "epoch": 4, "key": "key"}


def test_a_sample_hash_has_not_moved():
    """A change here makes the digests of old logs incomparable."""
    assert text(sample_hash(**SAMPLE)) == "c12a056e3a3604d9ddab381a141c71ce"


def test_every_field_of_a_sample_changes_its_hash():
    changes = [{"step": 4}, {"lane": 2}, {"slot": 3}, {"source": "wex"}, {"epoch": 5}, {"key": "k"}]
    hashes = {sample_hash(**SAMPLE | change) for change in [{}, *changes]}
    assert len(hashes) == 7


def test_fields_do_not_run_into_each_other():
    assert sample_hash(**SAMPLE | {"step": 31, "lane": 1}) != sample_hash(
        **SAMPLE | {"step": 3, "lane": 11}
    )


def test_the_total_does_not_depend_on_the_order_or_on_how_samples_are_shared_out():
    hashes = [sample_hash(**SAMPLE | {"step": step}) for step in range(100)]
    shuffled = random.Random(0).sample(hashes, 100)
    parts = [total(shuffled[:7]), total(shuffled[7:60]), total(shuffled[60:])]
    assert total(hashes) == total(shuffled) == total(parts)


def test_a_sample_that_is_lost_doubled_or_swapped_changes_the_total():
    hashes = [sample_hash(**SAMPLE | {"step": step}) for step in range(10)]
    other = sample_hash(**SAMPLE | {"step": 10})
    totals = {total(h) for h in (hashes, hashes[1:], [*hashes, hashes[0]], [*hashes[1:], other])}
    assert len(totals) == 4


def test_a_digest_survives_its_text_in_32_hex_digits():
    for digest in (0, 1, MODULUS - 1, total([MODULUS - 1, 5]), sample_hash(**SAMPLE)):
        assert len(text(digest)) == 32
        assert int(text(digest), 16) == digest


def test_a_key_that_is_not_utf_8_has_a_hash():
    assert sample_hash(**SAMPLE | {"key": "\udcff"}) != sample_hash(**SAMPLE | {"key": "\udcfe"})
