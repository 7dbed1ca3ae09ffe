"""What is learnt: what is predicted, from what, in which order. Contradictions are refused."""

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

FILLED_IN: dict[str, dict[str, Any]] = {
    "ar": {"attention": "prefix"},
    "masked": {"attention": "bidirectional", "mask_ratio": 0.5},
}
"""What a kind takes where the config says nothing."""


class TargetConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """What is predicted of a patch (AIM table 3a)."""

    kind: Literal["pixels_norm", "pixels", "kmeans", "tokens"] = "pixels_norm"
    """Its pixels without their mean and contrast; as they are; the nearest of a codebook's patches;
    or what a frozen tokenizer calls it."""

    codebook: str | None = None
    """URL of a .npy file, (V, values of a patch) float32: centroids of normalised patches, as
    `targets.kmeans.fit` makes them. For `kmeans`."""

    tokenizer: str | None = None
    """URL of a TorchScript module that maps images (B, 3, size, size), float32 in [0, 1], to ids of
    their patches, row by row: (B, K) integers. For `tokens`."""

    tokenizer_size: int | None = Field(default=None, gt=0)
    """Side in pixels that images are resized to for the tokenizer, so that its grid is that of the
    patches: 128 for 16 x 16 patches and a tokenizer that makes one token of 8 x 8 pixels."""

    vocabulary: int | None = Field(default=None, gt=1)
    """How many ids the tokenizer has."""

    @model_validator(mode="after")
    def _has_what_its_kind_needs_and_no_more(self) -> "TargetConfig":
        needs = {"kmeans": {"codebook"}, "tokens": {"tokenizer", "tokenizer_size", "vocabulary"}}
        for field in ("codebook", "tokenizer", "tokenizer_size", "vocabulary"):
            needed, given = field in needs.get(self.kind, ()), getattr(self, field) is not None
            if needed and not given:
                raise ValueError(f"target.{field} is missing, which target.kind {self.kind} needs")
            if given and not needed:
                kinds = " or ".join(kind for kind in needs if field in needs[kind])
                raise ValueError(
                    f"target.{field} says nothing to target.kind {self.kind}; remove it, or "
                    f"choose target.kind {kinds}"
                )
        return self


class ObjectiveConfig(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """What a model is asked; the defaults are the paper's."""

    kind: Literal["ar", "masked"] = "ar"
    """Each next patch from those before it, or masked patches from all others (AIM table 5)."""

    order: Literal[
        "raster", "spiral", "checkerboard", "random_fixed", "reversed_raster", "column_major"
    ] = "raster"
    """In which sequence patches come (AIM table 3b). For `ar`."""

    attention: Literal["prefix", "causal", "bidirectional"] = "prefix"
    """`prefix`: the first S patches see each other, S drawn for each image; `causal`: none sees
    what comes later (AIM table 3d). `masked` is `bidirectional`, also where nothing is said."""

    prefixes: Literal["paired", "independent"] = "paired"
    """How S is drawn, uniform on 1 to K - 1 either way. `paired`: neighbouring slots of a lane get
    S and K - S, so that all steps predict as many; `independent`: each image has its own."""

    mask_ratio: float | None = Field(default=None, gt=0, lt=1)
    """Share of the patches that is masked, 0.5 where nothing is said; the paper tries 0.5 and 0.75
    (AIM §5.3). For `masked`."""

    target: TargetConfig = TargetConfig()
    """What is predicted of a patch."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {**FILLED_IN.get(str(fields.get("kind", "ar")), {}), **fields}

    @model_validator(mode="after")
    def _contradicts_itself_nowhere(self) -> "ObjectiveConfig":
        for wrong, reason in self._against_ar if self.kind == "ar" else self._against_masked:
            if wrong:
                raise ValueError(f"objective.{reason}")
        return self

    @property
    def _against_ar(self) -> list[tuple[bool, str]]:
        return [
            (
                self.attention == "bidirectional",
                "attention bidirectional would show the patch that kind ar predicts; choose prefix "
                "or causal, or kind masked",
            ),
            (
                self.mask_ratio is not None,
                "mask_ratio says nothing to kind ar, which masks no patch; remove it, or choose "
                "kind masked",
            ),
            (
                self.attention == "causal" and self.prefixes == "independent",
                "prefixes says nothing to attention causal, which has none; remove it, or choose "
                "attention prefix",
            ),
        ]

    @property
    def _against_masked(self) -> list[tuple[bool, str]]:
        return [
            (
                self.attention != "bidirectional",
                f"attention {self.attention} would hide from kind masked what surrounds a masked "
                "patch; choose bidirectional",
            ),
            (
                self.order != "raster",
                f"order {self.order} says nothing to kind masked, where all patches see each "
                "other; remove it",
            ),
            (
                self.prefixes == "independent",
                "prefixes says nothing to kind masked, which has none; remove it",
            ),
        ]
