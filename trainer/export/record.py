"""What an export says of itself: its `config.json`, also kept in the header of the backbone."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from pipeline.format import address
from trainer.export.names import Origin
from trainer.model.orders import ORDERS
from trainer.model.sizes import ModelConfig

Dtype = Literal["float32", "bfloat16"]


class File(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """One file of weights."""

    sha256: str
    nbytes: int


class Source(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """One source of the data."""

    share: float
    """Of all images, by the mixture's weights."""
    samples: int
    """Images in it."""
    drawn: int
    """Images that the run took from it, repeats counted."""
    shards: str
    """Id of its snapshot, or of its list of tars."""


class Training(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """How the weights came to be, as far as the run knows. No time and no host."""

    step: int
    """Updates, a parent's included."""
    steps: int
    """Updates of the whole run; after fewer, the learning rate had not reached zero."""
    images: int
    """Images drawn by this run, repeats counted; a parent's are not in it."""
    digest: str
    """Of every sample delivered to this run, as in its log."""
    mixture: str | None
    """URL, without credentials; None where only the checkpoint was at hand."""
    sources: dict[str, Source]
    seed: int
    objective: dict[str, Any]
    """The run's section `objective`."""
    optimiser: dict[str, Any]
    """The run's section `optimiser`."""
    parent: dict[str, Any] | None
    """The step and the digest of the run that this one went on from."""
    validation: dict[str, Any] | None
    """The last losses on the validation set at or before the step, by form, and their step."""


class Record(BaseModel, extra="forbid", frozen=True, use_attribute_docstrings=True):
    """Everything needed to build the model again, and where its weights come from."""

    format: Literal[1] = 1
    headrace: str | None
    """Version that wrote the export."""
    model: ModelConfig
    outputs: int = Field(gt=0)
    """Values predicted per patch."""
    order: str = "raster"
    """The sequence in which patches were read."""
    mask_token: bool = False
    """Whether there is a token that stands in for hidden patches."""
    origin: Origin = "headrace"
    """Whose names the weights had before."""
    dtype: Dtype = "float32"
    """Of the stored weights."""
    training: Training | None = None
    """None for imported weights."""
    files: dict[str, File] = {}
    """By name, in this folder. Empty in the header of the backbone."""

    @field_validator("order")
    @classmethod
    def _order_is_known(cls, order: str) -> str:
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; known are {', '.join(ORDERS)}")
        return order


def installed() -> str | None:
    """The version of headrace; None where its modules lie about without being installed."""
    try:
        return version("headrace")
    except PackageNotFoundError:
        return None


def training_of(
    state: dict[str, Any], config: dict[str, Any], log: Sequence[dict[str, Any]]
) -> Training:
    """What is known of a run's checkpoint: its state, and the run's config.json and metrics.jsonl.

    Config and log may be empty.
    """
    identity, delivered, saved = state["stream"]["identity"], state["delivered"], state["config"]
    parent = state.get("parent")
    validated = [line for line in log if "validation" in line and line["step"] <= state["step"]]
    last = validated[-1] if validated else None
    return Training(
        step=state["step"],
        steps=saved["steps"],
        images=sum(delivered["drawn"].values()),
        digest=delivered["digest"],
        mixture=address.redact(config["mixture"]) if "mixture" in config else None,
        sources=_sources(identity, delivered["drawn"]),
        seed=saved["seed"],
        objective=saved.get("objective", {}),
        optimiser=saved["optimiser"],
        parent={name: parent[name] for name in ("step", "digest")} if parent else None,
        validation={"step": last["step"]} | last["validation"] if last else None,
    )


def _sources(identity: dict[str, Any], drawn: dict[str, int]) -> dict[str, Source]:
    told = {name: identity[f"source {name}"] for name in identity["sources"]}
    total = sum(source["weight"] for source in told.values())
    return {
        name: Source(
            share=source["weight"] / total,
            samples=source["samples"],
            drawn=drawn.get(name, 0),
            shards=source["shards"],
        )
        for name, source in told.items()
    }
