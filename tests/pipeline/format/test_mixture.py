"""Ratios as whole numbers, and the published mixture."""

import json
from fractions import Fraction

import numpy as np
import pytest

from pipeline.format import writing
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import (
    Mixture,
    Source,
    integer_weights,
    mixture_bytes,
    read_mixture,
)

MIXTURE = Mixture(
    (Source("web", "file:///d/snapshots/1", 4, 900), Source("é", "s3://b/snapshots/2", 1, 100))
)


@pytest.mark.parametrize(
    ("ratios", "weights"),
    [
        ({"a": 0.8, "b": 0.2}, {"a": 4, "b": 1}),
        ({"a": 0.1, "b": 0.2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1}),
        ({"a": 7.0}, {"a": 1}),
        ({"a": 80, "b": 20}, {"a": 4, "b": 1}),
        ({"a": 0.333, "b": 0.667}, {"a": 333, "b": 667}),
        ({"a": "1/3", "b": "2/3"}, {"a": 1, "b": 2}),
        ({"a": "1/3", "b": "0.5"}, {"a": 2, "b": 3}),
        ({"b": 0.5, "a": 0.25, "c": 0.25}, {"b": 2, "a": 1, "c": 1}),
        ({"a": 1e-2, "b": 0.99}, {"a": 1, "b": 99}),
        ({"a": 999, "b": 1}, {"a": 999, "b": 1}),
    ],
)
def test_ratios_become_the_smallest_whole_numbers(ratios, weights):
    found = integer_weights(ratios)
    assert found == weights
    assert list(found) == list(ratios)


def test_whole_numbers_keep_every_ratio_exactly():
    random = np.random.default_rng(3)
    for _ in range(200):
        ratios = {name: int(random.integers(1, 200)) / 100 for name in "abc"}
        weights = integer_weights(ratios)
        exact = {name: Fraction(str(ratio)) for name, ratio in ratios.items()}
        assert all(
            exact[one] * weights[other] == exact[other] * weights[one]
            for one in ratios
            for other in ratios
        )
        assert np.gcd.reduce(list(weights.values())) == 1


@pytest.mark.parametrize(
    "ratio", [0, -1, 0.0, "-1/2", "0", float("nan"), float("inf"), "many", "1/0"]
)
def test_a_ratio_that_is_no_share_is_refused_and_its_source_named(ratio):
    with pytest.raises(
        HeadraceError, match=r"mixture source 'b': ratio .* must be a number above 0"
    ):
        integer_weights({"a": 1, "b": ratio})


def test_ratios_that_need_too_long_a_word_are_refused():
    with pytest.raises(HeadraceError, match="sum is over 1000; use rounder ratios"):
        integer_weights({"a": 1000, "b": 1})
    with pytest.raises(HeadraceError, match="use rounder ratios"):
        integer_weights({"a": 0.8, "b": 0.20001})


def test_a_mixture_comes_back_as_it_was_published(tmp_path):
    writing.publish(f"{tmp_path}/mix.json", mixture_bytes(MIXTURE))
    assert read_mixture(f"{tmp_path}/mix.json") == MIXTURE


def test_a_mixture_of_snapshots_is_of_the_first_format_and_one_with_tars_of_the_second(tmp_path):
    tars = Source("tars", "s3://b/mix/00ff.shards.parquet", 1, 100)
    mixed = Mixture((*MIXTURE.sources, tars))
    formats = [json.loads(mixture_bytes(one))["format"] for one in (MIXTURE, mixed)]
    assert formats == [1, 2]
    writing.publish(f"{tmp_path}/mix.json", mixture_bytes(mixed))
    assert read_mixture(f"{tmp_path}/mix.json") == mixed


@pytest.mark.parametrize(
    ("contents", "complaint"),
    [
        (b"", "not a mixture of headrace"),
        (b"[]", "not a mixture of headrace"),
        (b"{}", "not a mixture of headrace: 'format'"),
        (b'{"format": 1}', "not a mixture of headrace: 'sources'"),
        (b'{"format": 1, "sources": [{"name": "a"}]}', "not a mixture of headrace"),
        (b'{"format": 1, "sources": 3}', "not a mixture of headrace"),
        (b'{"format": 9, "sources": []}', "made by another version of headrace"),
    ],
)
def test_a_file_that_is_no_mixture_is_named(tmp_path, contents, complaint):
    (tmp_path / "mix.json").write_bytes(contents)
    with pytest.raises(HeadraceError, match=rf"mix\.json: {complaint}"):
        read_mixture(str(tmp_path / "mix.json"))
