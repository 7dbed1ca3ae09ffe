"""`headrace eval knn`: classes by a vote of the nearest training images; nothing is trained.

    <evaluation>/features/<digest>/   one feature an image, of either set; see trainer/extracting.py
    <evaluation>/results.json         every figure

A feature is the mean over patches of the mean over a window of blocks, at length one. A test image
that is in the training set, too, finds itself: nothing is taken out here. `decide.decontaminate` of
a curation takes it out of the training set.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field, PositiveInt
from torch import Tensor

from jobs.console import console
from jobs.evaluation.extracting import PassConfig, computing, extract
from jobs.evaluation.results import publish
from jobs.evaluation.sets import Labelled, check_foreign, in_order, labelled
from pipeline.assess.proportions import wilson
from pipeline.format import address
from pipeline.format.errors import HeadraceError
from pipeline.format.patience import Patience
from trainer.extracting import Rows
from trainer.frozen import Frozen, open_frozen
from trainer.model.sizes import ModelConfig
from trainer.neighbours import TEMPERATURE, nearest, pooled, votes
from trainer.probing.config import Blocks
from trainer.probing.layers import resolved
from trainer.stream.ordered import held_out

KS = (1, 5, 10, 20, 50, 100, 200)
"""From one neighbour, where it is the nearest alone, to many: which is best depends on the set."""


def _ascending(found: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(found)))


class KnnConfig(PassConfig):
    """A vote of the nearest neighbours."""

    model: ModelConfig | None = None
    """The model's shape, for weights that do not say it."""

    train: Labelled
    """The images that vote: a dataset whose captions are classes, or a source of labelled images,
    which is made into one."""

    test: Labelled
    """The images whose classes are told, of the same kind."""

    sets: str | None = Field(default=None, min_length=1)
    """Folder or URL that receives the datasets `train` and `test`, if they are made; `sets` in the
    evaluation's without it. Evaluations that name one folder make them once."""

    layers: Literal["last", "best"] | Blocks = "last"
    """Blocks whose outputs are averaged: the last six; those that AIM's release found best for each
    of its sizes; or by number, from 0."""

    attention: Literal["bidirectional", "causal"] = "bidirectional"
    """What a patch sees of the others: all, as the paper's probes do, or none that comes later."""

    k: Annotated[tuple[PositiveInt, ...], AfterValidator(_ascending), Field(min_length=1)] = KS
    """How many neighbours vote. What is more than the training images is left out."""

    temperature: float = Field(default=TEMPERATURE, gt=0)
    """A neighbour has exp(cosine / this) votes; DINO's 0.07 (arXiv 2104.14294, appendix)."""


def run(config: KnnConfig) -> dict[str, Any]:
    """Makes the features that are missing, has them vote, and writes results.json; returns it.

    A killed run goes on where it was, and gives the same bytes. Raises HeadraceError if the weights
    or a set cannot be had, if a sample is damaged, or if the sets' classes do not fit.
    """
    with computing(config) as device:
        frozen = open_frozen(config.weights, device, config.model, config.attention)
        train, test = (_features(config, name, frozen) for name in ("train", "test"))
        figures, classes = _figures(config, train, test, device)
    return publish(config, "knn", frozen.told, {"train": train, "test": test}, classes, figures)


def _features(config: KnnConfig, name: str, frozen: Frozen) -> Rows:
    """Of one set, (n, D) of length one."""
    inside = address.join(config.sets or address.join(config.url, "sets"), name)
    source = held_out(labelled(getattr(config, name), inside), Patience())
    size = frozen.model.config.image_size
    [window] = resolved(config.layers, frozen)

    def make(images: Tensor, samples: Tensor) -> Tensor:
        found = pooled(frozen.windows(images, [window])[0])
        if not found.isfinite().all():
            raise HeadraceError(
                f"{address.redact(config.weights)}: its features are not all finite; name an "
                "earlier checkpoint, or set precision to float32"
            )
        return found

    identity = {
        "weights": frozen.told["sha256"],
        "model": frozen.told["model"],
        "order": frozen.told["order"],
        "layers": window,
        "attention": config.attention,
    }
    return extract(config, "features", source, size, identity, make)


def _figures(
    config: KnnConfig, train: Rows, test: Rows, device: torch.device
) -> tuple[dict[str, Any], int]:
    """The figures of each k, and the number of classes."""
    labels, wanted, classes = _labels(_captions(train), _captions(test))
    ks = _fitting(config.k, len(labels))
    console.print(f"knn: {len(wanted):,} images look for neighbours among {len(labels):,}")
    queries = torch.cat([chunk.rows for chunk in test]).to(device)
    found = nearest(queries, (chunk.rows for chunk in train), ks[-1])
    told = {}
    for k in ks:
        right = votes(found, labels, wanted, k, classes, config.temperature)
        told[str(k)] = {
            "top1": wilson(right.top1, len(wanted))._asdict(),
            "top5": wilson(right.top5, len(wanted))._asdict(),
        }
    return {"k": told}, classes


def _captions(rows: Rows) -> list[str]:
    return [caption for chunk in rows for caption in chunk.captions]


def _labels(train: list[str], test: list[str]) -> tuple[Tensor, Tensor, int]:
    """The class of each training and each test image, and how many classes there are.

    Raises HeadraceError if an image has none, or if no training image has one of the test's.
    """
    numbers = {name: number for number, name in enumerate(in_order(set(train)))}
    for name, captions in (("train", train), ("test", test)):
        if "" in captions:
            raise HeadraceError(
                f"{name}: sample {captions.index('')} has no caption, which should be its class; "
                "curate labelled images"
            )
    check_foreign("test", numbers, test)
    labels, wanted = (torch.tensor([numbers[one] for one in own]) for own in (train, test))
    return labels, wanted, len(numbers)


def _fitting(ks: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """Those that are not more than the samples. Says which are; raises HeadraceError if all are."""
    fitting = tuple(k for k in ks if k <= samples)
    if not fitting:
        raise HeadraceError(f"k: {ks[0]} is more than the {samples} images of train; name fewer")
    if left_out := ks[len(fitting) :]:
        shown = ", ".join(map(str, left_out))
        console.print(f"knn: no vote of {shown}: the training set has {samples} images")
    return fitting
