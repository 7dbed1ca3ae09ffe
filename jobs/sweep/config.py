"""What a sweep is told: one config for all ablations, whatever their size."""

import hashlib
import json
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from jobs.stages import StageConfig
from pipeline.format import address
from pipeline.settings import Settings
from trainer.config import MixtureUrl, RunFolder, TrainConfig

GIVEN = ("run", "mixture", "seed", "checkpoints")
"""Fields of a training that the sweep fills in."""

CHANGE_NO_BATCH = {"seed", "threads", "reads", "read_ahead", "patience", "cache", "max_bad"}
"""Of a stream; its seed is the sweep's."""


def digest(value: Any) -> str:
    """SHA-256 in hex of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class BaseTraining(TrainConfig, frozen=True):
    """The training that every row begins with: the fields of `headrace train`, less `GIVEN`."""

    run: RunFolder = "unnamed"
    """Given by the sweep."""

    mixture: MixtureUrl = "unnamed.json"
    """Given by the sweep."""

    @model_validator(mode="after")
    def _leaves_to_the_sweep_what_is_its_own(self) -> Self:
        for field in GIVEN:
            if field in self.model_fields_set:
                raise ValueError(f"{field} is what the sweep gives each training; remove it")
        if "seed" in self.stream.model_fields_set:
            raise ValueError("stream.seed: the sweep gives it; name `seeds` of the sweep instead")
        return self

    @property
    def written(self) -> dict[str, Any]:
        """What the config says, without what it leaves out; for JSON."""
        return self.model_dump(mode="json", exclude_unset=True)


class SourcesConfig(Settings):
    """The two kinds of images."""

    target: str = Field(min_length=1)
    """A dataset or snapshot of the labelled set (the paper: IN-1k)."""

    web: str | None = Field(default=None, min_length=1)
    """A dataset or snapshot of curated web images (the paper: DFN-2B). For `data-mix`."""

    web_share: float = Field(default=0.8, gt=0, lt=1)
    """Share of web images in the mix (AIM §3)."""


class DiscreteConfig(Settings):
    """What the discrete rows of the ablation `target` predict (AIM table 3a)."""

    centroids: int = Field(default=512, gt=1)
    """Of k-means; how many the paper took could not be confirmed. They are fitted to the images
    that the rows train on."""

    tokenizer: str | None = None
    """As `objective.target.tokenizer`; without it the row `tokens` is not run."""

    tokenizer_size: int | None = Field(default=None, gt=0)
    """As `objective.target.tokenizer_size`."""

    vocabulary: int | None = Field(default=None, gt=1)
    """As `objective.target.vocabulary`."""


class SweepConfig(Settings):
    """Small or full models for every ablation. Relative paths start at the current folder."""

    sweep: RunFolder
    """Folder that receives trainings, probes and tables, on a disk that all machines see."""

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """A row is trained once with each; differences between rows are taken seed by seed."""

    train: BaseTraining
    """The training that rows change; its own `validation` gives the curve by steps."""

    sources: SourcesConfig
    """What is trained on."""

    train_on: str = Field(default="target", pattern="^(target|web|mix)$")
    """What all ablations but `data-mix` train on: `target` (the paper: IN-1k), `web`, or `mix`."""

    probe: dict[str, Any] | None = None
    """The fields of `headrace eval probe` less `run` and `weights`; null: no row is probed."""

    validation: dict[str, str] = Field(default={})
    """Datasets or snapshots by names of your choice: the loss of every row on each.
    A dataset that grew since is another set, and the losses are taken anew: name snapshots."""

    discrete: DiscreteConfig = DiscreteConfig()
    """Of the ablation `target`."""

    resources: StageConfig = StageConfig()
    """What one training takes of a machine, with `--ray`. `cpus` (1 if not said) are also its
    threads where `train.threads` says nothing, also without Ray: so both give the same bits."""

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{list(seeds)}: a seed stands twice; a run of it would count twice")
        return seeds

    @field_validator("validation")
    @classmethod
    def _names_are_of_files(cls, sets: dict[str, str]) -> dict[str, str]:
        for name in sets:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r}: a set's name has letters, digits, - and _ alone")
        return sets

    @field_validator("probe")
    @classmethod
    def _probe_is_of_no_run_yet(cls, probe: dict[str, Any] | None) -> dict[str, Any] | None:
        for field in ("run", "weights", "attention", "seed"):
            if probe and field in probe:
                raise ValueError(f"{field} is what the sweep gives each probe; remove it")
        return probe

    @model_validator(mode="after")
    def _has_the_images_that_it_trains_on(self) -> Self:
        if self.train_on != "target" and not self.sources.web:
            raise ValueError(
                f"train_on: {self.train_on} needs sources.web; name it, or train on target"
            )
        return self

    @property
    def folder(self) -> str:
        """The absolute path of `sweep`."""
        return address.absolute(self.sweep).removeprefix("file://")

    def mixture(self, data: str) -> str:
        """The path of what is trained on: `target`, `web` or `mix`."""
        return f"{self.folder}/mixtures/{data}-{digest(self.sources.model_dump())[:8]}.json"

    @property
    def codebook(self) -> str:
        """The path of the k-means row's codebook, by all that it depends on."""
        stream = self.train.stream.model_dump(mode="json", exclude=CHANGE_NO_BATCH)
        source = self.mixture(self.train_on).rpartition("/")[2]
        told = [source, stream, self.train.shape.patch_size, self.discrete.centroids]
        return f"{self.folder}/codebooks/{digest(told)[:12]}.npy"

    @property
    def threads(self) -> int:
        """Of one training or probe on the CPU."""
        return self.train.threads or max(1, int(self.resources.cpus or 1))
