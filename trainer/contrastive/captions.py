"""Captions that are made of classes' names: one sentence of OpenAI's 80, drawn by key."""

import functools
from collections.abc import Sequence

import numpy as np
import open_clip
from timm.data.imagenet_info import ImageNetInfo

from pipeline.format.errors import HeadraceError
from trainer.stream.batch import Batch
from trainer.stream.keyed import base_key, below, mix


def check(chosen: Sequence[str], names: Sequence[str]) -> None:
    """Raises HeadraceError if a chosen source is none of the stream's `names`."""
    if unknown := sorted(set(chosen) - set(names)):
        raise HeadraceError(
            f"templates: no source is called {', '.join(unknown)}; the pairs are of: "
            f"{', '.join(names)}"
        )


def captions(batch: Batch, names: Sequence[str], chosen: Sequence[str], seed: int) -> list[str]:
    """A batch's captions; those of `chosen` sources are classes, and become sentences.

    Drawn by (seed, source name, epoch, sample), as crops are. `names` are the stream's sources.
    Raises HeadraceError if there is none at all: images alone would teach nothing, for days. One
    that is missing is empty, and is learnt from.
    """
    if not any(map(str.strip, batch.captions)):
        found = {names[source] for source in batch.sources.tolist()}
        raise HeadraceError(
            f"pairs: none of {len(batch.captions)} images of {', '.join(sorted(found))} has a "
            f"caption (step {batch.step}); name tars that hold a .txt beside each image"
        )
    if not chosen:
        return batch.captions
    sources, epochs, samples = (
        column.numpy() for column in (batch.sources, batch.epochs, batch.samples)
    )
    purposes = np.array([base_key(seed, "template", name) for name in names], np.uint64)
    drawn = below(mix(purposes[sources], epochs, samples), len(open_clip.OPENAI_IMAGENET_TEMPLATES))
    return [
        _sentence(caption, template) if names[source] in chosen else caption
        for caption, template, source in zip(batch.captions, drawn, sources, strict=True)
    ]


def _sentence(caption: str, template: int) -> str:
    name = _imagenet().get(caption.strip(), caption.strip())
    sentence: str = open_clip.OPENAI_IMAGENET_TEMPLATES[template](name)
    return sentence


@functools.cache
def _imagenet() -> dict[str, str]:
    """OpenAI's names of ImageNet's classes by wnid, which is their caption in our snapshots."""
    wnids = ImageNetInfo("imagenet-1k").label_names()
    return dict(zip(wnids, open_clip.IMAGENET_CLASSNAMES, strict=True))
