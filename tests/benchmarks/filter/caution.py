"""The paper's caution in numbers: a filter's own accuracy does not tell how well it filters.

    python -m tests.benchmarks.filter.caution --work FOLDER              14 trainings
    python -m tests.benchmarks.filter.caution --quick                    to see that it runs

Trains the demo's filter in several ways, each from two seeds: longer or shorter, with augmentation
or without, and with a part of the raw pool among its trusted pairs (arXiv 2309.17425, figure 4).
Each is asked how well it does on trusted pairs that it never saw (its own accuracy), and how well
it filters: the same pairs with known noise, and the half of the demo's pool that no filter was
trained on, by `truth.parquet`. Trainings in FOLDER that are done are found done.
"""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from jobs import cluster, demo, filter, mix
from jobs.config import MixConfig
from pipeline.assess.intervals import Interval
from tests.benchmarks.filter.judging import FILTERING, HEADS, OWN, Judged, correlated, judge
from tests.benchmarks.trainer.timing import line
from trainer.contrastive.config import FilterConfig

TRUSTED = str(demo.DATA / "trusted" / "{00000000..00000004}.tar")
RAW = str(demo.DATA / "pool" / "{00000000..00000002}.tar")
"""The half of the pool that filters may be trained on. The other half is what they filter."""

MAX_BAD = 0.2
"""The raw pool has its damaged images; others of it stand in for them."""


class Recipe(NamedTuple):
    """A way to train."""

    steps: int = 60
    raw: int = 0
    """Percent of the training's samples that are of the raw pool."""
    augmented: bool = True


RECIPES = (
    Recipe(20),
    Recipe(),
    Recipe(150),
    Recipe(augmented=False),
    Recipe(raw=10),
    Recipe(raw=30),
    Recipe(raw=60),
)
FEWEST = 3
"""Filters that have an order to speak of."""

QUICK = (Recipe(steps=2), Recipe(steps=2, raw=30))


def named(recipe: Recipe, seed: int) -> str:
    """As the run's folder is called."""
    shown = "" if recipe.augmented else "-whole"
    return f"{recipe.steps}-steps-{recipe.raw}-raw{shown}-seed-{seed}"


def trained(recipe: Recipe, seed: int, given: argparse.Namespace) -> str:
    """The name of the model, by `headrace filter train`'s own code."""
    fields = yaml.safe_load(Path(demo.write_configs(given.work)["filter"]).read_text())
    augment = fields["stream"]["augment"] if recipe.augmented else {"whole": True, "flip": False}
    fields["stream"] |= {"augment": augment, "seed": seed, "max_bad": MAX_BAD}
    fields |= {"run": str(given.work / named(recipe, seed)), "seed": seed}
    fields |= {"pairs": str(mixture(given.work, recipe.raw)), "threads": given.threads}
    fields["steps"] = recipe.steps
    return filter.train(FilterConfig.model_validate(fields))


def mixture(work: Path, raw: int) -> Path:
    """Trusted pairs, of which `raw` percent gave way to pairs of the pool."""
    path = work / f"{raw}-raw.json"
    sources: list[dict[str, Any]] = [{"name": "trusted", "tars": TRUSTED, "ratio": 100 - raw}]
    if raw:
        sources.append({"name": "raw", "tars": RAW, "ratio": raw})
    if not path.exists():
        with cluster.session():
            mix.run(MixConfig.model_validate({"mixture": str(path), "sources": sources}))
    return path


def table(found: dict[tuple[Recipe, int], Judged]) -> Iterator[str]:
    """Markdown; brackets hold 95% intervals over the pictures that are judged."""
    yield line("steps", "augmented", "raw pairs", "seed", *HEADS.values())
    yield "|---" * (4 + len(HEADS)) + "|"
    for (recipe, seed), judged in found.items():
        told = recipe.steps, "yes" if recipe.augmented else "no", f"{recipe.raw}%", seed
        yield line(*told, *map(percent, judged))


def percent(one: Interval) -> str:
    """A share and its interval."""
    return f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]"


def agreement(found: dict[tuple[Recipe, int], Judged]) -> Iterator[str]:
    """Whether the own accuracy orders filters as filtering does: for all, and for those alone that
    differ in their raw pairs, or in anything else. Groups of fewer than 3 say nothing."""
    groups = {
        "all": list(found),
        "without raw pairs": [key for key in found if not key[0].raw],
        "by raw pairs": [key for key in found if key[0]._replace(raw=0) == Recipe()],
    }
    told = ((name, keys) for name, keys in groups.items() if len(keys) >= FEWEST)
    yield line("filters", "how many", "own accuracy", "filtering", "Spearman", "by chance")
    yield "|---" * 6 + "|"
    for (name, keys), own, other in product(told, OWN, FILTERING):
        values = [[getattr(found[key], what).value for key in keys] for what in (own, other)]
        rho, chance = correlated(*values)
        yield line(name, len(keys), HEADS[own], HEADS[other], f"{rho:.2f}", f"{chance:.0%}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.filter.caution",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--work", type=Path, help="folder of the trainings (default: a temporary one)")
    add("--seeds", type=int, default=2, help="trainings of each kind (default 2)")
    add("--threads", type=int, default=2, help="of the processor (default 2)")
    add("--quick", action="store_true", help="two kinds of two steps each, one seed")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        given.work = (given.work or Path(folder)).absolute()
        recipes, seeds = (QUICK, 1) if given.quick else (RECIPES, given.seeds)
        models = {
            named(recipe, seed): trained(recipe, seed, given)
            for seed in range(seeds)
            for recipe in recipes
        }
        judged = judge(models, given.work)
        found = {
            (recipe, seed): judged[named(recipe, seed)]
            for recipe in recipes
            for seed in range(seeds)
        }
    print("", *table(found), "", *agreement(found), sep="\n")


if __name__ == "__main__":
    main()
