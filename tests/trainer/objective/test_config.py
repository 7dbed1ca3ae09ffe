import pytest
from pydantic import ValidationError

from trainer.objective.config import ObjectiveConfig

TOKENS = {"kind": "tokens", "tokenizer": "dvae.pt", "tokenizer_size": 128, "vocabulary": 8192}
GOOD = [
    {},
    {"attention": "causal", "order": "spiral"},
    {"prefixes": "independent", "target": {"kind": "pixels"}},
    {"kind": "masked"},
    {"kind": "masked", "mask_ratio": 0.75, "target": {"kind": "kmeans", "codebook": "book.npy"}},
    {"target": TOKENS},
]


def test_the_defaults_are_the_papers():
    config = ObjectiveConfig()
    chosen = (config.kind, config.order, config.attention, config.prefixes, config.target.kind)
    assert chosen == ("ar", "raster", "prefix", "paired", "pixels_norm")
    assert config.mask_ratio is None


def test_a_masked_objective_sees_all_around_half_of_the_patches():
    config = ObjectiveConfig(kind="masked")
    assert (config.attention, config.mask_ratio) == ("bidirectional", 0.5)


@pytest.mark.parametrize("fields", GOOD)
def test_what_a_run_wrote_down_is_read_again(fields):
    config = ObjectiveConfig(**fields)
    assert ObjectiveConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attention": "bidirectional"}, "attention bidirectional would show .* choose prefix"),
        ({"mask_ratio": 0.5}, "mask_ratio says nothing to kind ar.*remove it"),
        ({"attention": "causal", "prefixes": "independent"}, "prefixes says nothing .* causal"),
        ({"kind": "masked", "attention": "prefix"}, "attention prefix would hide"),
        ({"kind": "masked", "attention": "causal"}, "attention causal would hide"),
        ({"kind": "masked", "order": "spiral"}, "order spiral says nothing"),
        ({"kind": "masked", "prefixes": "independent"}, "prefixes says nothing to kind masked"),
        ({"kind": "masked", "mask_ratio": 1.0}, "mask_ratio\n.*less than 1"),
        ({"kind": "masked", "mask_ratio": 0.0}, "mask_ratio\n.*greater than 0"),
        ({"kind": "diffusion"}, "kind\n.*'ar' or 'masked'"),
        ({"masks": 3}, "masks\n.*not permitted"),
        ({"target": {"kind": "kmeans"}}, "target.codebook is missing"),
        ({"target": {"codebook": "a.npy"}}, "target.codebook says nothing to .* pixels_norm"),
        ({"target": TOKENS | {"vocabulary": None}}, "target.vocabulary is missing"),
        ({"target": TOKENS | {"tokenizer": None}}, "target.tokenizer is missing"),
        ({"target": TOKENS | {"tokenizer_size": None}}, "target.tokenizer_size is missing"),
        ({"target": TOKENS | {"codebook": "a.npy"}}, "target.codebook .* choose .* kmeans"),
        ({"target": {"vocabulary": 9}}, "target.vocabulary .* choose target.kind tokens"),
    ],
)
def test_a_contradiction_is_refused_with_its_field_and_what_to_do(fields, words):
    with pytest.raises(ValidationError, match=words):
        ObjectiveConfig(**fields)
