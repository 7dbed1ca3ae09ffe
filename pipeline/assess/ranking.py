"""Does a filter's own accuracy tell how well it filters? The order of several, by either."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.assess.correlation import average_ranks, kendall, spearman


@dataclass(frozen=True)
class Ranking:
    """Filters by their own accuracy, and by how well they filter."""

    by_accuracy: tuple[str, ...]
    """Best first; equal ones by name."""
    by_filtering: tuple[str, ...]
    spearman: float
    kendall: float
    """Both NaN if either figure is the same for all."""
    same: bool
    """No two filters are in one order by accuracy and in another, or equal, by filtering."""

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.same:
            return f"Accuracy and filtering order the filters alike: {', '.join(self.by_accuracy)}."
        return (
            f"The orders differ: by accuracy {', '.join(self.by_accuracy)}; "
            f"by filtering {', '.join(self.by_filtering)}."
        )


def rank(accuracy: Mapping[str, float], filtering: Mapping[str, float]) -> Ranking:
    """Compares two figures, larger is better, of the same filters, by name.

    Raises ValueError if the names differ, there are fewer than 2, or a figure is not finite.
    """
    names = sorted(accuracy)
    if names != sorted(filtering) or len(names) < 2:
        raise ValueError(f"a ranking of {names} and {sorted(filtering)}")
    own, kept = (np.array([figure[name] for name in names]) for figure in (accuracy, filtering))
    if not (np.isfinite(own).all() and np.isfinite(kept).all()):
        raise ValueError("a ranking by figures that are not finite")
    order = [tuple(names[at] for at in np.argsort(-of, kind="stable")) for of in (own, kept)]
    same = bool((average_ranks(own) == average_ranks(kept)).all())
    return Ranking(order[0], order[1], spearman(own, kept), kendall(own, kept), same)
