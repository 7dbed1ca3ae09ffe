import pytest
from pydantic import ValidationError

from trainer.model.aim import count_parameters
from trainer.model.sizes import SIZES, ModelConfig

TINY = {"image_size": 12, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "patch_embed", "trunk", "backbone"),
    [
        ("aim-600m", 907_776, 679_627_776, 680_535_552),
        ("aim-1b", 1_210_368, 1_208_160_256, 1_209_370_624),
        ("aim-3b", 1_815_552, 2_718_210_048, 2_720_025_600),
        ("aim-7b", 2_420_736, 6_442_983_424, 6_445_404_160),
    ],
)
def test_paper_sizes_have_the_released_models_parameters(name, patch_embed, trunk, backbone):
    count = count_parameters(SIZES[name])
    assert (count.patch_embed, count.trunk, count.backbone) == (patch_embed, trunk, backbone)


@pytest.mark.parametrize("name", ["aim-600m", "aim-1b", "aim-3b", "aim-7b"])
def test_the_pixel_head_is_width_2048_and_depth_12_for_every_trunk(name):
    projection = SIZES[name].embed_dim * 2048 + 2048
    block = 8 * 2048**2 + 4 * 2048  # two linears without bias, two norms
    prediction = 2 * 2048 + 2048 * 588 + 588  # norm and linear
    assert count_parameters(SIZES[name]).pixel_head == projection + 12 * block + prediction


def test_a_trunk_block_has_12_d_squared_plus_4_d_parameters():
    one, two = (count_parameters(ModelConfig(**TINY | {"depth": n})).trunk for n in (1, 2))
    assert two - one == 12 * 16**2 + 4 * 16


def test_the_deep_trunk_has_about_the_parameters_of_the_wide_one():
    wide, deep = (count_parameters(SIZES[name]).trunk for name in ("aim-600m", "aim-600m-deep"))
    assert SIZES["aim-600m-deep"].depth > SIZES["aim-600m"].depth
    assert 0.9 < deep / wide < 1


def test_paper_sizes_have_heads_of_128_channels_and_256_patches():
    for name in ("aim-600m", "aim-1b", "aim-3b", "aim-7b"):
        assert SIZES[name].embed_dim == 128 * SIZES[name].num_heads
        assert (SIZES[name].num_patches, SIZES[name].patch_dim) == (256, 588)


def test_the_demo_size_has_two_to_four_million_parameters():
    assert 2e6 < sum(count_parameters(SIZES["aim-demo"])) < 4e6


def test_the_small_size_has_the_trunk_of_a_vit_s():
    assert 21e6 < count_parameters(SIZES["aim-small"]).backbone < 22e6
    assert SIZES["aim-small"].num_patches == 64


def test_a_transformer_head_has_attention_heads_as_wide_as_the_trunks():
    transformer = TINY | {"head_kind": "transformer"}
    message = "head_width 36 is not a multiple of 8, the channels"
    with pytest.raises(ValidationError, match=message) as error:
        ModelConfig(**transformer, head_width=36)
    assert error.value.errors()[0]["loc"] == ("head_width",)
    with pytest.raises(ValidationError, match="head_width 2048 is not a multiple of 80"):
        ModelConfig(**transformer | {"embed_dim": 160})
    assert ModelConfig(**transformer, head_width=40).head_dim == 8
    assert ModelConfig(**TINY, head_width=36).head_kind == "mlp"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patch_size", 5, "image_size 12 is not a multiple of patch_size 5"),
        ("num_heads", 3, "embed_dim 16 is not a multiple of num_heads 3"),
        ("embed_dim", 18, "embed_dim 18 is not a multiple of 4"),
        ("head_width", 6, "head_width 6 is not a multiple of 4"),
        ("depth", 0, "greater than 0"),
        ("head_block", "fancy", "'official' or 'plain'"),
        ("head_kind", "fancy", "'mlp', 'transformer' or 'none'"),
        ("widht", 16, "Extra inputs are not permitted"),
    ],
)
def test_a_bad_config_gives_an_error_that_names_the_field(field, value, message):
    with pytest.raises(ValidationError, match=message) as error:
        ModelConfig(**TINY | {field: value})
    assert [problem["loc"] for problem in error.value.errors()] == [(field,)]


def test_every_field_is_described():
    assert all(field.description for field in ModelConfig.model_fields.values())
