"""A mixture: pinned snapshots or lists of tars, and the integer weights they are drawn with."""

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction

from pipeline.format import store
from pipeline.format.errors import HeadraceError
from pipeline.format.listing import ENDING

FORMATS = (1, 2)
"""The first knows snapshots alone; a mixture without tars is still written in it."""
MAX_WEIGHT_SUM = 1000
"""The length of the longest mixing word, DESIGN.md "Stream" step 4."""


@dataclass(frozen=True)
class Source:
    """One part of a mixture. `name` keys its randomness: renaming a source reshuffles it."""

    name: str
    snapshot: str
    """URL of a snapshot, or of a published list of tars."""
    weight: int
    samples: int


@dataclass(frozen=True)
class Mixture:
    """Sources in a fixed order; shares are weight / sum of weights, whatever the sizes."""

    sources: tuple[Source, ...]


def integer_weights(ratios: Mapping[str, float | str]) -> dict[str, int]:
    """Ratios as the smallest whole numbers: {0.8, 0.2} is {4, 1}.

    Raises HeadraceError for a ratio that is not positive, or when the sum would pass 1000.
    """
    exact = {name: _share(name, ratio) for name, ratio in ratios.items()}
    scale = math.lcm(*(ratio.denominator for ratio in exact.values()))
    whole = {name: int(ratio * scale) for name, ratio in exact.items()}
    divisor = math.gcd(*whole.values())
    weights = {name: weight // divisor for name, weight in whole.items()}
    if sum(weights.values()) > MAX_WEIGHT_SUM:
        raise HeadraceError(
            f"mixture ratios {dict(ratios)} need whole weights {weights}, whose sum is over "
            f"{MAX_WEIGHT_SUM}; use rounder ratios"
        )
    return weights


def _share(name: str, ratio: float | str) -> Fraction:
    with contextlib.suppress(ValueError, ZeroDivisionError):
        if (share := Fraction(str(ratio))) > 0:
            return share
    raise HeadraceError(f"mixture source {name!r}: ratio {ratio} must be a number above 0")


def mixture_bytes(mixture: Mixture) -> bytes:
    """The published form of a mixture."""
    has_tars = any(source.snapshot.endswith(ENDING) for source in mixture.sources)
    fields = {"format": FORMATS[has_tars], **asdict(mixture)}
    text = json.dumps(fields, sort_keys=True, indent=1)
    return text.encode() + b"\n"


def read_mixture(url: str) -> Mixture:
    """Reads a published mixture. Raises HeadraceError if it is not one."""
    try:
        fields = json.loads(store.read_bytes(url))
        if fields.pop("format") not in FORMATS:
            raise HeadraceError(f"{url}: made by another version of headrace")
        return Mixture(tuple(Source(**source) for source in fields["sources"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeadraceError(f"{url}: not a mixture of headrace: {error}") from error
