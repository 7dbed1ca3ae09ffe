"""Sentences of class names, drawn by key."""

import itertools
from dataclasses import replace

import open_clip
import pytest

from pipeline.format.errors import HeadraceError
from trainer.contrastive.captions import captions, check
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

NAMES = ["web", "trusted"]
CONFIG = StreamConfig(batch=10, lanes=2, image_size=16)


@pytest.fixture(scope="module")
def batches(mixture) -> list[Batch]:
    """Several epochs of `trusted`: each batch has 2 of its 7 pictures."""
    with Stream(mixture, CONFIG) as stream:
        assert stream.names == NAMES
        return list(itertools.islice(stream, 12))


def sentences(name: str) -> set[str]:
    return {template(name) for template in open_clip.OPENAI_IMAGENET_TEMPLATES}


def of(batches: list[Batch], seed: int = 0) -> dict[tuple[int, int], str]:
    """Sentences of `trusted`, by epoch and sample."""
    return {
        (int(epoch), int(sample)): text
        for batch in batches
        for text, source, epoch, sample in zip(
            captions(batch, NAMES, ["trusted"], seed),
            batch.sources,
            batch.epochs,
            batch.samples,
            strict=True,
        )
        if NAMES[source] == "trusted"
    }


def test_only_the_chosen_sources_captions_become_sentences(batches):
    for batch in batches:
        made = captions(batch, NAMES, ["trusted"], 0)
        for text, caption, source in zip(made, batch.captions, batch.sources, strict=True):
            trusted = NAMES[source] == "trusted"
            assert text in (sentences(caption.strip()) if trusted else {caption})


def test_without_a_choice_captions_are_as_they_were_read(batches):
    assert captions(batches[0], NAMES, (), 0) is batches[0].captions


def test_sentences_differ_by_epoch_and_seed_and_are_drawn_alike_whatever_the_batch(batches):
    made = of(batches)
    drawn = [{made.get((epoch, sample)) for epoch in range(3)} for sample in range(7)]
    assert all(len(sentences) > 1 for sentences in drawn)
    assert made != of(batches, seed=1)
    halves = [
        replace(
            batch,
            captions=batch.captions[half],
            sources=batch.sources[half],
            epochs=batch.epochs[half],
            samples=batch.samples[half],
        )
        for batch in batches
        for half in (slice(0, 5), slice(5, 10))
    ]
    assert of(halves) == made


def test_a_wnid_of_imagenet_is_spoken_by_its_name(batches):
    wnids = replace(batches[0], captions=["n01440764", "n15075141"] * 5)
    made = captions(wnids, NAMES, NAMES, 0)
    assert all(text in sentences("tench") for text in made[::2])
    assert all(text in sentences("toilet paper") for text in made[1::2])


def test_images_without_any_caption_are_refused_and_one_without_is_not(batches):
    bare = replace(batches[0], captions=["", " \n"] * 5)
    with pytest.raises(HeadraceError, match=r"^pairs: none of 10 images of trusted, web has a cap"):
        captions(bare, NAMES, (), 0)
    some = replace(bare, captions=["a dog", *bare.captions[1:]])
    assert captions(some, NAMES, (), 0) == some.captions


def test_an_unknown_source_is_refused_with_the_known_ones():
    check(["web"], NAMES)
    with pytest.raises(HeadraceError, match=r"no source is called imagenet; .* of: web, trusted"):
        check(["imagenet", "web"], NAMES)
