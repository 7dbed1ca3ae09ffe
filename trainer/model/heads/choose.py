"""The heads by their names: each is a file of one shape.

    head = HEADS[config.head_kind](config, outputs, order)
    head(features (B, K, D), seen)        # (B, K, P): all predictions
    head(features (B, K, D), seen, rows)  # (M, P): those of the scored rows, the same values

A head hangs on the model as `pixel_head`, because `head` is the probe in released weights.
"""

from trainer.model.heads.mlp import MLPHead
from trainer.model.heads.none import NoHead
from trainer.model.heads.transformer import TransformerHead

HEADS: dict[str, type[MLPHead] | type[TransformerHead] | type[NoHead]] = {
    "mlp": MLPHead,
    "transformer": TransformerHead,
    "none": NoHead,
}
"""`ModelConfig.head_kind` to its class."""
