"""Config files: YAML in, checked whole before any work begins."""

import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import yaml
from pydantic import (
    BaseModel,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from jobs.stages import StagesConfig
from pipeline import ledger
from pipeline.assess.drift import GatesConfig
from pipeline.decide.config import DecideConfig
from pipeline.decide.decide import columns as decide_columns
from pipeline.decide.decide import number_columns
from pipeline.decide.layout import WriteConfig
from pipeline.format import address
from pipeline.format.errors import HeadraceError
from pipeline.measure.clip import ClipConfig
from pipeline.measure.image import ImageConfig
from pipeline.measure.models.config import ModelConfig, schema
from pipeline.pool.source import SourceConfig
from pipeline.settings import Settings
from pipeline.write.alter import columns as alter_columns

Model = TypeVar("Model", bound=BaseModel)


class MeasureConfig(Settings):
    """What is measured of each pool image."""

    image: ImageConfig = ImageConfig()
    """Decode health, size, hashes, sharpness, caption: always measured."""

    clip: ClipConfig | None = None
    """An image-text score and embedding, if a model is named."""

    models: dict[str, ModelConfig] = Field(default={})
    """Further models, each under a name of your choice that its ledger columns begin with."""

    @field_validator("models")
    @classmethod
    def _names_are_free(cls, found: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        for name in found:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ("image", "clip"):
                raise ValueError(f"{name!r}: a model's name is a lower-case word of its own")
        return found

    @model_validator(mode="after")
    def _columns_are_of_one_family(self) -> "MeasureConfig":
        names = [field.name for fields in self.schemas for field in fields]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two families have a column {name!r}: rename a model")
        return self

    @property
    def schemas(self) -> list[pa.Schema]:
        """Of every family that is measured."""
        clip = [ledger.CLIP_SCHEMA] if self.clip else []
        models = [schema(name, model) for name, model in self.models.items()]
        return [ledger.IMAGE_SCHEMA, *clip, *models]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Every fact that is measured, and its type."""
        return {field.name: field.type for fields in self.schemas for field in fields}


class CurateConfig(Settings):
    """A curation: sources in, a snapshot out. Relative paths start at the current folder."""

    dataset: str = Field(min_length=1)
    """Folder or URL that receives the ledger, the shards and the snapshots."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    """The pool."""

    measure: MeasureConfig = MeasureConfig()
    """Facts to record of each image."""

    decide: DecideConfig = DecideConfig()
    """What to drop."""

    write: WriteConfig = WriteConfig()
    """The shape of the shards."""

    gates: GatesConfig = GatesConfig()
    """How unlike the parent's the new images of a refresh may be. Changes no snapshot."""

    stages: StagesConfig = StagesConfig()
    """What one task of each stage takes of a node. Changes no snapshot."""

    @model_validator(mode="after")
    def _what_decides_is_measured(self) -> "CurateConfig":
        known = self.measure.columns
        wanted = decide_columns(self.decide) | alter_columns(self.write.alter)
        for column in sorted(wanted - known.keys()):
            raise ValueError(_not_measured(column, known))
        for column in sorted(number_columns(self.decide)):
            if not (pa.types.is_integer(known[column]) or pa.types.is_floating(known[column])):
                raise ValueError(f"{column} holds {known[column]}, and only numbers are compared")
        return self

    @model_validator(mode="after")
    def _stages_are_measured(self) -> "CurateConfig":
        for name in sorted(self.stages.models.keys() - self.measure.models.keys()):
            raise ValueError(f"stages.models.{name}: no model of that name under measure.models")
        return self

    @property
    def dataset_url(self) -> str:
        """The dataset's canonical URL."""
        return address.absolute(self.dataset)

    @property
    def identity(self) -> dict[str, Any]:
        """What of this config a snapshot's content depends on, as it stands in the manifest."""
        return self.model_dump(mode="json", exclude={"dataset", "gates", "stages"})


class MixSourceConfig(Settings):
    """One source of a mixture."""

    name: str = Field(min_length=1)
    """Keys the source's randomness: renaming it reshuffles it."""

    snapshot: str | None = Field(default=None, min_length=1)
    """A dataset (its latest snapshot is pinned) or `<dataset>/snapshots/<id>`."""

    tars: str | tuple[str, ...] | None = Field(default=None, min_length=1)
    """Instead of a snapshot: anyone's tars, by URLs with `{000..099}` ranges and `*`."""

    ratio: float = Field(gt=0)
    """Share of the training samples, relative to the other ratios. AIM: 0.8 web, 0.2 IN-1k."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "MixSourceConfig":
        if (self.snapshot is None) == (self.tars is None):
            raise ValueError("name either a snapshot or tars")
        return self


class MaterialiseConfig(Settings):
    """The first samples of a mixture as plain tars: which stream they are the first samples of."""

    to: str = Field(min_length=1)
    """Folder or URL that receives the tars."""

    batch: int = Field(gt=0)
    """Images in a step; a multiple of `lanes`."""

    lanes: int = Field(gt=0)
    """Readers of the stream. The fewer, the more neighbours are read in one go."""

    seed: int = 0
    """Of the order."""

    block: PositiveInt | dict[str, PositiveInt] | None = None
    """Samples that a reader draws from at a time; as in a training's `stream.block`."""

    shard_samples: int = Field(default=10_000, gt=0)
    """Samples in one tar."""

    @model_validator(mode="after")
    def _lanes_share_the_batch(self) -> "MaterialiseConfig":
        if self.batch % self.lanes:
            raise ValueError(f"batch {self.batch} is not a multiple of lanes {self.lanes}")
        return self


class MixConfig(Settings):
    """A mixture of snapshots and tars, published as one small file."""

    mixture: str = Field(min_length=1)
    """Where the mixture goes: a path or URL that ends in .json."""

    sources: tuple[MixSourceConfig, ...] = Field(min_length=1)
    """What is mixed."""

    materialise: MaterialiseConfig | None = None
    """Where `--materialise` writes the mixture's first samples."""

    @field_validator("mixture")
    @classmethod
    def _is_named_as_one(cls, url: str) -> str:
        if not url.endswith(".json"):
            raise ValueError(
                f"{url!r} does not end in .json, by which a training knows a mixture; "
                f"write {url}.json"
            )
        return url

    @model_validator(mode="after")
    def _names_differ(self) -> "MixConfig":
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"two sources have the same name: {names}")
        block = self.materialise.block if self.materialise else None
        unknown = block.keys() - set(names) if isinstance(block, dict) else set()
        if unknown:
            raise ValueError(f"materialise.block: no source {sorted(unknown)}; there are {names}")
        return self


def _not_measured(column: str, known: Collection[str]) -> str:
    if column.startswith("clip_"):
        return f"{column} is wanted, and no model is named under measure.clip"
    near = difflib.get_close_matches(column, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "name the model that gives it"
    return f"{column} is wanted, and nothing under measure gives it; {hint}"


class _Loader(yaml.SafeLoader):
    """YAML in which no name stands twice in one mapping: the first would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before `<<` puts in the names of another mapping, which those written here may replace.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set[tuple[str, Any]]()
        for key, _ in node.value:
            if (key.tag, key.value) in seen:
                twice = f"{key.value!r} is given twice; keep one"
                raise yaml.MarkedYAMLError(problem=twice, problem_mark=key.start_mark)
            seen |= {(key.tag, key.value)} if isinstance(key, yaml.ScalarNode) else set()
        return node


def load(path: str, model: type[Model]) -> Model:
    """Reads a YAML config and checks all of it. Raises HeadraceError as `read` and `check` do."""
    return check(path, read(path), model)


def read(path: str) -> Any:
    """What a YAML file says, unchecked; no fields if it is empty.

    Raises HeadraceError with the file's name if it cannot be read or is no YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise HeadraceError(f"{path}: the config cannot be read: {reason}") from error
    try:
        return yaml.load(text, _Loader) or {}
    except yaml.YAMLError as error:
        raise HeadraceError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def check(path: str, fields: Any, model: type[Model]) -> Model:
    """The fields of a config, checked whole; `path` is the file that they are of.

    Raises HeadraceError with one line per fault: file, field, what is wrong, and the nearest
    known name where a name is unknown.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        faults = [_fault(path, model, fault) for fault in error.errors()]
        raise HeadraceError("\n".join(faults)) from error


def _fault(path: str, model: type[BaseModel], fault: Any) -> str:
    where = ".".join(str(step) for step in fault["loc"]) or "(whole file)"
    if fault["type"] != "extra_forbidden":
        return f"{path}: {where}: {fault['msg'].removeprefix('Value error, ')}"
    known = _fields_at(model, fault["loc"][:-1])
    near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"{path}: {where}: unknown name; {hint}"


def _fields_at(model: type[BaseModel], steps: tuple[int | str, ...]) -> list[str]:
    """The field names of the section that a fault lies in."""
    for step in steps:
        if not isinstance(step, int) and step in model.model_fields:
            model = _section(model.model_fields[step].annotation) or model
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_section(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)
