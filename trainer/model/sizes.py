"""How big a model is: one typed config, and the named sizes."""

from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

CHANNELS = 3
"""Red, green, blue: every image of this project."""


class ModelConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """Everything that decides the shape of an AIM and what it computes.

    Raises `pydantic.ValidationError`, which names the field, on an unknown key, a
    size that is not positive, or sizes that do not divide each other.
    """

    image_size: int = Field(default=224, gt=0)
    """Side of the square input image, in pixels (AIM §4.1)."""

    patch_size: int = Field(default=14, gt=0)
    """Side of a square patch, in pixels; divides `image_size` (AIM §4.1)."""

    embed_dim: int = Field(gt=0)
    """Width D of the trunk (AIM table 1)."""

    depth: int = Field(gt=0)
    """Number of trunk blocks (AIM table 1)."""

    num_heads: int = Field(gt=0)
    """Attention heads of a trunk block; divides `embed_dim`."""

    mlp_ratio: int = Field(default=4, gt=0)
    """Hidden width of an MLP over the width of its block, trunk and head."""

    norm_eps: float = Field(default=1e-5, gt=0)
    """Epsilon of every LayerNorm: 1e-5 in the training code, 1e-6 for the released weights."""

    head_kind: Literal["mlp", "transformer", "none"] = "mlp"
    """What predicts from the trunk's output (AIM table 3e); `none` is one linear."""

    head_width: int = Field(default=2048, gt=0, validate_default=True)
    """Width of the head, the same for all trunks (AIM table 4); `none` has no use for it."""

    head_depth: int = Field(default=12, ge=0)
    """Number of head blocks (AIM table 4); `none` has no use for it."""

    head_block: Literal["official", "plain"] = "official"
    """Of the `mlp` head: `official` keeps the training code's extra `x + norm_1(x)`; `plain` is
    the paper's text."""

    @field_validator("patch_size")
    @classmethod
    def _patches_fill_the_image(cls, patch_size: int, info: ValidationInfo) -> int:
        image_size = info.data.get("image_size", patch_size)
        if image_size % patch_size:
            raise ValueError(
                f"image_size {image_size} is not a multiple of patch_size {patch_size}"
            )
        return patch_size

    @field_validator("embed_dim", "head_width")
    @classmethod
    def _position_code_fits(cls, width: int, info: ValidationInfo) -> int:
        if width % 4:
            raise ValueError(
                f"{info.field_name} {width} is not a multiple of 4, which the position code needs "
                "(sine and cosine of column and row)"
            )
        return width

    @field_validator("num_heads")
    @classmethod
    def _heads_share_the_width(cls, num_heads: int, info: ValidationInfo) -> int:
        embed_dim = info.data.get("embed_dim", num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        return num_heads

    @field_validator("head_width")
    @classmethod
    def _attention_heads_fill_the_head(cls, head_width: int, info: ValidationInfo) -> int:
        fields = info.data
        if fields.get("head_kind") == "transformer" and {"embed_dim", "num_heads"} <= fields.keys():
            channels = fields["embed_dim"] // fields["num_heads"]
            if head_width % channels:
                raise ValueError(
                    f"head_width {head_width} is not a multiple of {channels}, the channels of an "
                    "attention head (embed_dim / num_heads), which a transformer head shares"
                )
        return head_width

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.embed_dim // self.num_heads

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """K, the length of the sequence."""
        return self.grid_size**2

    @property
    def patch_dim(self) -> int:
        """P, the number of pixel values in a patch, over all channels."""
        return self.patch_size**2 * CHANNELS


SIZES: dict[str, ModelConfig] = {
    # Something to watch learn on a laptop: 2.5 M parameters, K = 64.
    "aim-demo": ModelConfig(
        image_size=64,
        patch_size=8,
        embed_dim=192,
        depth=4,
        num_heads=3,
        head_width=192,
        head_depth=2,
    ),
    # A trunk of ViT-S's shape, 21 M parameters, K = 64: what the benchmarks take on a CPU.
    "aim-small": ModelConfig(
        image_size=112,
        patch_size=14,
        embed_dim=384,
        depth=12,
        num_heads=6,
        head_width=384,
        head_depth=4,
    ),
    # AIM table 1; the heads are from the release (128 channels each).
    "aim-600m": ModelConfig(embed_dim=1536, depth=24, num_heads=12),
    # AIM table 3f, whose wide trunk is aim-600m. Its deep one is not written out in what we
    # could read; this is ViT-H's shape (arXiv 2010.11929, table 1), which has as many parameters.
    "aim-600m-deep": ModelConfig(embed_dim=1280, depth=32, num_heads=16),
    "aim-1b": ModelConfig(embed_dim=2048, depth=24, num_heads=16),
    "aim-3b": ModelConfig(embed_dim=3072, depth=24, num_heads=24),
    "aim-7b": ModelConfig(embed_dim=4096, depth=32, num_heads=32),
}
"""The named sizes. Everything not written out is the paper's default above."""
