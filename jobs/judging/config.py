"""The config of `headrace filter evaluate`: which filters are judged, and on what."""

from pydantic import Field, field_validator, model_validator

from pipeline.format import address
from pipeline.measure.clip import ClipConfig
from pipeline.pool.source import SourceConfig
from pipeline.settings import Settings


class NoiseConfig(Settings):
    """Shares of the trusted pairs that are spoilt, to see whether a filter finds them."""

    shuffled: float = Field(default=0.3, ge=0, le=1)
    """Pairs that get the caption of another."""

    off_topic: float | None = Field(default=None, ge=0, le=1)
    """Pairs that get an image from `off_topic`: 0.2 if that is given, else 0."""


class EvaluateConfig(Settings):
    """An evaluation of one filter or more. Relative paths start at the current folder."""

    evaluation: str = Field(min_length=1)
    """Folder or URL that receives the ledger, the figures and the page."""

    filters: dict[str, ClipConfig] = Field(min_length=1)
    """The filters, by names of your choice."""

    trusted: tuple[SourceConfig, ...] = Field(min_length=1)
    """Trusted pairs that no filter was trained on."""

    pools: tuple[SourceConfig, ...] = ()
    """Whose scores are shown source by source, and whose kept sets are compared."""

    off_topic: tuple[SourceConfig, ...] = ()
    """Images that fit no caption of the trusted pairs."""

    noise: NoiseConfig = NoiseConfig()
    """What is spoilt of the trusted pairs."""

    fractions: tuple[float, ...] = Field(default=(0.1, 0.15, 0.2, 0.3, 0.5), min_length=1)
    """Top fractions that are judged; DFN-2B is the top 0.15 (arXiv 2309.17425, section 4)."""

    most_pairs: int = Field(default=10_000, ge=2)
    """Trusted pairs that are judged, drawn by key if there are more; as many off-topic images."""

    seed: int = 0
    """Of all that is drawn: pairs, mismatches, noise and resamples."""

    @field_validator("filters")
    @classmethod
    def _names_have_letters(cls, found: dict[str, ClipConfig]) -> dict[str, ClipConfig]:
        for name in found:
            if not name.strip():
                raise ValueError(f"{name!r}: give the filter a name")
        return found

    @field_validator("fractions")
    @classmethod
    def _fractions_keep_something(cls, found: tuple[float, ...]) -> tuple[float, ...]:
        for fraction in found:
            if not 0 < fraction <= 1:
                raise ValueError(f"{fraction}: a top fraction is above 0 and at most 1")
        return tuple(sorted(set(found)))

    @model_validator(mode="after")
    def _noise_can_be_made(self) -> "EvaluateConfig":
        if self.noise.off_topic and not self.off_topic:
            raise ValueError(
                f"noise.off_topic is {self.noise.off_topic}, and off_topic names no images: "
                "name some, or set it to 0"
            )
        if self.noise.shuffled + self.off_topic_rate >= 1:
            raise ValueError(
                "noise: shuffled and off_topic together leave nothing clean; lower one"
            )
        return self

    @property
    def off_topic_rate(self) -> float:
        """Share of the pairs that get an off-topic image."""
        told = self.noise.off_topic
        return told if told is not None else 0.2 if self.off_topic else 0.0

    @property
    def url(self) -> str:
        """The evaluation's canonical URL."""
        return address.absolute(self.evaluation)
