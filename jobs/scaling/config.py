"""The config of `headrace scaling`: which runs are compared, made here or found."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.settings import Settings
from trainer.config import TrainConfig


class ScalingConfig(Settings):
    """Sizes and schedules side by side. Relative paths start at the current folder."""

    scaling: str = Field(min_length=1)
    """Folder on a disk that receives the figures, the page, and what is run for them."""

    runs: dict[str, dict[str, Any]] = Field(min_length=1)
    """The runs, by names of your choice: `{folder: RUN}` is one of `headrace train`; anything else
    is fields of a training, such as `model` and `steps`, that differ from `train`."""

    train: dict[str, Any] = Field(default={})
    """What the trainings that are to be run share: a config of `headrace train` without `run`."""

    evaluations: dict[str, tuple[str, ...]] = Field(default={})
    """Folders with results of `headrace eval` by the run they are of."""

    probe: dict[str, Any] | None = None
    """A probe of every run: a config of `headrace eval probe` without `run` and `weights`."""

    nproc: int = Field(default=1, gt=0)
    """Processes of each training on this machine; workers, with --ray."""

    @property
    def trainings(self) -> dict[str, TrainConfig]:
        """The runs that are made here."""
        made = {name: self._training(name) for name in self.runs}
        return {name: config for name, config in made.items() if config}

    @property
    def folders(self) -> dict[str, Path]:
        """Where each run lies, or will."""
        return {
            name: Path(fields.get("folder", Path(self.scaling, "runs", name)))
            for name, fields in self.runs.items()
        }

    @property
    def probes(self) -> dict[str, Path]:
        """Where the probe of each run lies, or will; none without `probe`."""
        names = self.runs if self.probe is not None else ()
        return {name: Path(self.scaling, "probes", name) for name in names}

    @model_validator(mode="after")
    def _names_are_folders(self) -> "ScalingConfig":
        for name, fields in self.runs.items():
            if "folder" in fields:
                folder = fields["folder"]
                if len(fields) > 1 or not isinstance(folder, str) or not folder:
                    raise ValueError(
                        f"runs.{name}: `folder` is a path, and stands alone: a run that is there "
                        "has a config of its own"
                    )
            elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
                raise ValueError(
                    f"runs.{name!r}: it becomes a folder: use letters, digits, '-', '_' and '.'"
                )
        return self

    @model_validator(mode="after")
    def _what_is_set_here_is_not_given(self) -> "ScalingConfig":
        given = {f"runs.{name}": fields for name, fields in self.runs.items()}
        for section, fields in (given | {"train": self.train, "probe": self.probe or {}}).items():
            ours = {"run", "weights"} if section == "probe" else {"run"}
            for field in sorted(ours & fields.keys()):
                raise ValueError(f"{section}.{field}: remove it; it follows from `scaling`")
        return self

    @model_validator(mode="after")
    def _evaluations_are_of_runs(self) -> "ScalingConfig":
        for name in sorted(self.evaluations.keys() - self.runs.keys()):
            raise ValueError(f"evaluations.{name}: no run of that name under runs")
        return self

    @model_validator(mode="after")
    def _trainings_are_good(self) -> "ScalingConfig":
        """All of them, before the first has run for a week."""
        for name in self.runs:
            try:
                self._training(name)
            except ValidationError as error:
                fault = error.errors()[0]
                where = ".".join(str(step) for step in fault["loc"])
                told = fault["msg"].removeprefix("Value error, ")
                raise ValueError(f"runs.{name} with train: {where}: {told}") from error
        return self

    def _training(self, name: str) -> TrainConfig | None:
        if "folder" in self.runs[name]:
            return None
        fields = self.train | self.runs[name] | {"run": str(self.folders[name])}
        return TrainConfig.model_validate(fields)
