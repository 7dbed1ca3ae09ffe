"""The rows of AIM's tables 2 to 5: what each changes of the training, and of the probe.

A row is data. What the paper gives in absolute numbers is relative here to the base model, so that
the base aim-600m gives the paper's rows, and a small base rows of the same proportions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobs.sweep.config import SweepConfig

CAUSAL = {"kind": "ar", "attention": "causal", "prefixes": "paired", "mask_ratio": None}
PREFIX = {"kind": "ar", "attention": "prefix", "mask_ratio": None}
MASKED = {"kind": "masked", "attention": "bidirectional", "prefixes": "paired", "order": "raster"}
NO_FILE = {"codebook": None, "tokenizer": None, "tokenizer_size": None, "vocabulary": None}

DEEP_WIDTH, DEEP_DEPTH, DEEP_HEADS = 1280 / 1536, 32 / 24, 16 / 12
"""ViT-H (arXiv 2010.11929, table 1) over AIM-0.6B: the paper does not write out its deep trunk in
what we could read."""


@dataclass(frozen=True)
class Row:
    """A row of an ablation."""

    name: str
    label: str
    """The paper's."""
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of the training that replace the base's, section by section."""
    probe: dict[str, Any] = field(default_factory=dict)
    """The same of the probe."""
    data: str | None = None
    """What it is trained on, if not what the sweep says: `target`, `web` or `mix`."""
    missing: str = ""
    """Why it cannot be run, and what to do."""


@dataclass(frozen=True)
class Ablation:
    """A table of the paper."""

    table: str
    """Its number there."""
    title: str
    rows: Callable[[SweepConfig], list[Row]]
    one_question: bool = True
    """Whether all rows are asked the same, so that their losses can be compared."""
    note: str = ""
    """What a reader of the table must know."""


def data_mix(config: SweepConfig) -> list[Row]:
    """Table 2."""
    lack = "" if config.sources.web else "name sources.web"
    share = config.sources.web_share
    return [
        Row("target", "IN-1k (target alone)", data="target"),
        Row("web", "DFN-2B (web alone)", data="web", missing=lack),
        Row("mix", f"DFN-2B+ ({share:g} web, {1 - share:.3g} target)", data="mix", missing=lack),
    ]


def target(config: SweepConfig) -> list[Row]:
    """Table 3a. The codebook is named here and fitted before the row is run."""

    def row(name: str, label: str, missing: str = "", **fields: Any) -> Row:
        return Row(name, label, {"objective": {"target": NO_FILE | fields}}, missing=missing)

    discrete = config.discrete
    named = {k: getattr(discrete, k) for k in ("tokenizer", "tokenizer_size", "vocabulary")}
    lacks = [f"discrete.{key}" for key, value in named.items() if value is None]
    lack = f"name {', '.join(lacks)} (objective.target.tokenizer)"
    return [
        row("pixels", "raw pixels", kind="pixels"),
        row("pixels-norm", "normalised pixels", kind="pixels_norm"),
        row("kmeans", "k-means tokens", kind="kmeans", codebook=config.codebook),
        Row("tokens", "dVAE tokens", missing=lack)
        if lacks
        else row("tokens", "dVAE tokens", kind="tokens", **named),
    ]


def order(config: SweepConfig) -> list[Row]:
    """Table 3b, all with causal attention, in training and probe."""
    labels = {"raster": "raster", "spiral": "spiral", "checkerboard": "checkerboard"}
    labels["random_fixed"] = "fixed random"
    return [
        Row(name, label, {"objective": CAUSAL | {"order": name}}, {"attention": "causal"})
        for name, label in labels.items()
    ]


def crop_scale(config: SweepConfig) -> list[Row]:
    """Table 3c."""
    return [
        Row(f"{scale:g}", f"min. scale {scale}", {"stream": {"augment": {"min_scale": scale}}})
        for scale in (0.08, 0.4, 1.0)
    ]


def attention(config: SweepConfig) -> list[Row]:
    """Table 3d: two trainings, four probes."""
    return [
        Row(f"{name}-{probe}", f"{name} → {probe}", {"objective": fields}, {"attention": probe})
        for name, fields in (("causal", CAUSAL), ("prefix", PREFIX))
        for probe in ("causal", "bidirectional")
    ]


def head(config: SweepConfig) -> list[Row]:
    """Table 3e, with one depth and width."""
    labels = {"none": "none", "mlp": "MLP", "transformer": "transformer"}
    return [Row(kind, label, _model(config, head_kind=kind)) for kind, label in labels.items()]


def trunk_shape(config: SweepConfig) -> list[Row]:
    """Table 3f: the base, and a deep and narrow trunk of about as many parameters.

    Its width is a multiple of 8 in each head. Rounded to whole blocks, what comes closer to the
    base's parameters is taken; ViT-H beside AIM-0.6B has 7% fewer.
    """
    shape = config.train.shape
    heads = max(1, round(shape.num_heads * DEEP_HEADS))
    width = max(1, round(shape.embed_dim * DEEP_WIDTH / (8 * heads))) * 8 * heads
    exact, wanted = shape.depth * DEEP_DEPTH, shape.depth * shape.embed_dim**2
    near = {math.floor(round(exact, 6)), math.ceil(round(exact, 6))}
    depth = min(sorted(near), key=lambda blocks: abs(blocks * width**2 - wanted))
    deep = _model(config, embed_dim=width, depth=depth, num_heads=heads)
    return [Row("deep", f"deep ({width} x {depth})", deep), Row("wide", f"wide ({_size(config)})")]


def head_width(config: SweepConfig) -> list[Row]:
    """Table 4, above: a quarter of the base's (512 of 2048), half of it, and all."""
    shape = config.train.shape
    step = math.lcm(4, shape.head_dim) if shape.head_kind == "transformer" else 4
    widths = [max(1, round(shape.head_width * part / step)) * step for part in (1 / 4, 1 / 2, 1)]
    names = ("quarter", "half", "whole")
    return _distinct(names, widths, lambda w: _model(config, head_width=w), "width")


def head_depth(config: SweepConfig) -> list[Row]:
    """Table 4, below: half of the base's (6 of 12), two thirds, and all."""
    depths = [max(1, round(config.train.shape.head_depth * part)) for part in (1 / 2, 2 / 3, 1)]
    names = ("half", "two-thirds", "whole")
    return _distinct(names, depths, lambda d: _model(config, head_depth=d), "depth")


def objective(config: SweepConfig) -> list[Row]:
    """Table 5. A masked patch is replaced in the input, and nothing else differs."""
    masked = [
        Row(
            f"masked-{percent}",
            f"masked {percent} %",
            {"objective": MASKED | {"mask_ratio": percent / 100}},
        )
        for percent in (50, 75)
    ]
    return [Row("ar", "autoregressive", {"objective": PREFIX}), *masked]


def _model(config: SweepConfig, **changes: Any) -> dict[str, Any]:
    return {"model": config.train.shape.model_dump() | changes}


def _size(config: SweepConfig) -> str:
    return f"{config.train.shape.embed_dim} x {config.train.shape.depth}"


def _distinct(
    names: tuple[str, ...], sizes: list[int], fields: Callable[[int], dict[str, Any]], what: str
) -> list[Row]:
    """A small head has no room for all of them: the same size twice is one row."""
    rows = []
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        twice = size in sizes[:number]
        missing = f"{what} {size} is that of another row; give the base a larger head" * twice
        rows.append(Row(name, f"{what} {size}", fields(size), missing=missing))
    return rows


LIKE_THE_PAPERS = "The paper's figures are means of 15 benchmarks; ours are of the probe's own set."
OTHER_QUESTIONS = "Losses of different rows answer different questions and cannot be compared."

ABLATIONS = {
    "data-mix": Ablation("2", "data mixture", data_mix, note=LIKE_THE_PAPERS),
    "target": Ablation("3a", "target", target, one_question=False),
    "order": Ablation("3b", "patch order, causal attention", order, one_question=False),
    "crop-scale": Ablation("3c", "least crop scale", crop_scale),
    "attention": Ablation("3d", "attention, training → probe", attention),
    "head": Ablation("3e", "kind of head", head),
    "trunk-shape": Ablation("3f", "shape of the trunk", trunk_shape),
    "head-width": Ablation("4", "width of the head", head_width),
    "head-depth": Ablation("4", "depth of the head", head_depth),
    "objective": Ablation("5", "objective", objective, one_question=False),
}
"""By the names that the command takes."""
