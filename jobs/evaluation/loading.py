"""`headrace eval probe|lora`: the config of a training, whose sets and length are still open.

A YAML file has the trainer's own fields, but for these: `train` and `test` may be sources that are
made into datasets first, `epochs` stands for `steps`, and `classes` are those of `train`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from jobs import config as configs
from jobs.evaluation.sets import Labelled
from pipeline.format import address, store
from pipeline.format.errors import HeadraceError
from pipeline.format.snapshot import Snapshot
from pipeline.settings import Settings
from trainer.config import RunConfig
from trainer.export.runs import is_run

Kind = Literal["probe", "lora"]

Fields = dict[str, Any]

TOLD_HERE = {
    "steps": "give `epochs`, passes over `train`",
    "classes": "leave it out: they are the captions of `train`",
}
"""The trainer's fields that a person does not give, and what to do instead."""


class SetsConfig(Settings):
    """What a training learns from labelled images is told beside the trainer's own fields."""

    train: Labelled
    """A dataset, or a source of one; captions are classes."""

    test: Labelled
    """The same, to judge on. It may not have a class that `train` lacks."""

    epochs: float = Field(gt=0)
    """Passes over `train`; the paper's probes take 100."""

    sets: str | None = Field(default=None, min_length=1)
    """Folder or URL that receives the datasets `train` and `test`, if they are made; `sets` in the
    run's folder without it. Evaluations that name one folder make them once."""


@dataclass(frozen=True)
class Asked:
    """A checked config."""

    path: str
    kind: Kind
    sets: SetsConfig
    fields: Fields
    """The trainer's fields, without those that follow from the sets."""
    draft: RunConfig
    """The trainer's config, with made-up sets, classes and steps."""

    @property
    def model(self) -> type[RunConfig]:
        """The trainer's own."""
        return type(self.draft)

    def url_of(self, name: str) -> str:
        """Where the dataset of a set is made."""
        return address.join(self.sets.sets or f"{self.draft.run}/sets", name)


def load(where: str | Fields, kind: Kind) -> Asked:
    """Reads and checks a config, all of it: a YAML file, or its fields.

    Raises HeadraceError with a line for each fault: file (of fields, the run), field and fix.
    """
    given = configs.read(where) if isinstance(where, str) else where
    path = where if isinstance(where, str) else str(where.get("run", kind))
    if not isinstance(given, dict):
        configs.check(path, given, SetsConfig)  # which refuses it
    ours = {name: value for name, value in given.items() if name in SetsConfig.model_fields}
    fields = {name: value for name, value in given.items() if name not in ours}
    told = [f"{path}: {name}: {fix}" for name, fix in TOLD_HERE.items() if name in fields]
    fields = {name: value for name, value in fields.items() if name not in TOLD_HERE}
    model = model_of(kind)
    stand_in = {"train": "-", "test": "-", "classes": ("0", "1"), "steps": 1}
    sets = _checked(path, ours, SetsConfig, told)
    draft = _checked(path, fields | stand_in, model, told)
    told += _no_weights(path, draft) if draft else []
    if told or sets is None or draft is None:
        raise HeadraceError("\n".join(told))
    return Asked(path, kind, sets, fields, draft)


def complete(asked: Asked, train: Snapshot, test: Snapshot, classes: tuple[str, ...]) -> RunConfig:
    """The trainer's config. Raises HeadraceError if it makes no sense with these sets."""
    found = {"train": train.url, "test": test.url, "classes": classes}
    steps = {"steps": steps_of(asked, train.samples)}
    return configs.check(asked.path, asked.fields | found | steps, asked.model)


def steps_of(asked: Asked, samples: int) -> int:
    """Updates in so many epochs. Raises HeadraceError if they are not one."""
    batch, epochs = asked.draft.stream.batch, asked.sets.epochs
    steps = round(epochs * samples / batch)
    if not steps:
        raise HeadraceError(
            f"{asked.path}: epochs: {epochs:g} over {samples:,} images are not one batch of "
            f"{batch:,}; take more epochs, or a smaller stream.batch"
        )
    return steps


def model_of(kind: Kind) -> type[RunConfig]:
    """The config class of a kind's training."""
    if kind == "probe":
        from trainer.probing.config import ProbeConfig

        return ProbeConfig
    from trainer.lora.config import LoraConfig

    return LoraConfig


def _checked(path: str, fields: Any, model: type[configs.Model], told: list[str]) -> Any:
    """The config, or None and its faults told."""
    try:
        return configs.check(path, fields, model)
    except HeadraceError as error:
        told += str(error).splitlines()
        return None


def _no_weights(path: str, draft: Any) -> list[str]:
    """Before sets are made, which may take hours, and not only when the trunk is opened."""
    if is_run(draft.weights) or store.exists(address.absolute(draft.weights)):
        return []
    what = "a run with a checkpoint, an export, or a file of ml-aim's weights"
    return [f"{path}: weights: nothing at {address.redact(draft.weights)}; name {what}"]
