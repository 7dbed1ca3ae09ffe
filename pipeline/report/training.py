"""A training run as its folder tells it: config, log, pictures. The trainer is not imported.

<run>/config.json          the config it was started with
<run>/metrics.jsonl        one JSON object a line; totals count from the run's beginning
<run>/pictures/<step>.png  images of the validation set above their predictions
"""

from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.format import address, mixture, store
from pipeline.format.errors import HeadraceError
from pipeline.report.charts import INK, KEPT, OTHER
from pipeline.report.curves import thinned
from pipeline.report.folder import Line, read_config, read_log
from pipeline.report.tiles import data_uri, thumbnail

LARGEST_PNG, GRID_SIDE = 300_000, 2200
"""A grid of more bytes is embedded as a JPEG of at most so many pixels across: the page stays
small whatever the size of the model's images."""


@dataclass(frozen=True)
class Share:
    """One source of the mixture: what was planned, and what was drawn."""

    name: str
    planned: float | None
    """Its weight as a share; None where the mixture can no longer be read."""
    drawn: int
    share: float
    samples: int | None
    snapshot: str | None

    @property
    def passes(self) -> float | None:
        """How often each of its samples was seen."""
        return self.drawn / self.samples if self.samples else None


@dataclass(frozen=True)
class Picture:
    """A grid of predictions that the run drew after so many steps."""

    step: int
    uri: str


@dataclass(frozen=True)
class Run:
    """All that is shown of a training run."""

    url: str
    config: dict[str, Any]
    losses: tuple[tuple[int, float], ...]
    """(step, training loss)."""
    validation: dict[str, tuple[tuple[int, float], ...]]
    """Form of the validation loss → (step, loss)."""
    shares: tuple[Share, ...]
    trouble: str
    """Why the planned mixture is not shown, if it is not."""
    replaced: int
    """Damaged samples that another one stood in for."""
    digest: str
    pictures: tuple[Picture, ...]

    @property
    def steps(self) -> int:
        """The last step that the log speaks of."""
        ends = [self.losses, *self.validation.values()]
        return max((points[-1][0] for points in ends if points), default=0)


def read_run(folder: str) -> Run:
    """Reads the folder of a run. Raises HeadraceError if it is not one."""
    url = address.absolute(folder)
    return run_of(url, read_config(url), read_log(url))


def run_of(url: str, config: dict[str, Any], lines: list[Line]) -> Run:
    """The run at `url`, of its config and its log."""
    logged = [line for line in lines if "loss" in line]
    last = logged[-1] if logged else {}
    shares, trouble = _shares(config, last.get("drawn", {}))
    bad = sum(n for kinds in last.get("bad", {}).values() for n in kinds.values())
    return Run(
        url=url,
        config=config,
        losses=tuple((line["step"], line["loss"]) for line in logged if line["loss"] is not None),
        validation=_validation(lines),
        shares=shares,
        trouble=trouble,
        replaced=bad or last.get("replaced", 0),  # as logs from before kinds were counted have it
        digest=last.get("digest", ""),
        pictures=_pictures(url),
    )


def _validation(lines: list[Line]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Without losses that were not finite, which the log has as null."""
    found = [(line["step"], line["validation"]) for line in lines if "validation" in line]
    known = {form for _, losses in found for form in losses if losses[form] is not None}
    return {
        form: tuple((step, losses[form]) for step, losses in found if losses.get(form) is not None)
        for form in sorted(known)
    }


def _shares(config: dict[str, Any], drawn: dict[str, int]) -> tuple[tuple[Share, ...], str]:
    total = max(sum(drawn.values()), 1)
    unplanned = tuple(Share(n, None, one, one / total, None, None) for n, one in drawn.items())
    url = config.get("mixture", config.get("pairs"))  # a filter's pairs may be one
    if not (isinstance(url, str) and url.endswith(".json")):
        return unplanned, "it is not trained on a mixture"
    try:
        sources = mixture.read_mixture(url).sources
    except HeadraceError as error:
        return unplanned, f"the mixture cannot be read: {error}"
    weights = sum(source.weight for source in sources)
    planned = [
        Share(
            name=source.name,
            planned=source.weight / weights,
            drawn=drawn.get(source.name, 0),
            share=drawn.get(source.name, 0) / total,
            samples=source.samples,
            snapshot=source.snapshot,
        )
        for source in sources
    ]
    return tuple(planned), ""


def _pictures(url: str) -> tuple[Picture, ...]:
    """The first and the last grid."""
    folder = address.join(url, "pictures")
    steps = sorted(name.removesuffix(".png") for name in store.names(folder))
    steps = [step for step in steps if step.isdecimal()]
    chosen = [steps[0], steps[-1]] if len(steps) > 1 else steps
    pngs = (store.read_bytes(address.join(folder, f"{step}.png")) for step in chosen)
    return tuple(Picture(int(step), _embedded(png)) for step, png in zip(chosen, pngs, strict=True))


def _embedded(png: bytes) -> str:
    if len(png) > LARGEST_PNG:
        return thumbnail(png, GRID_SIDE)
    return data_uri(png, "image/png")


STYLES = (("o-", KEPT), ("s--", INK))
"""Marker, line and colour of the validation curves."""


def draw(axes: Axes, run: Run) -> None:
    """Loss by step: training as a thin line, validation as marked ones."""
    if run.losses:
        points = thinned(run.losses)
        axes.plot(*zip(*points, strict=True), color=OTHER, label="training, one batch")
    for (form, points), style in zip(run.validation.items(), cycle(STYLES), strict=False):
        axes.plot(*zip(*points, strict=True), style[0], color=style[1], label=f"validation, {form}")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.3)
