"""Known noise: trusted pairs of which a known share gets another caption or an off-topic image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.assess import keyed
from pipeline.assess.captions import numbered
from pipeline.assess.cosines import Embeddings, Numbers, Scores, check_unit, chosen_cosines
from pipeline.assess.top import share
from pipeline.format.errors import HeadraceError

CLEAN, SHUFFLED, OFF_TOPIC = 0, 1, 2
KINDS = ("clean", "shuffled", "off_topic")
"""Names of the kinds of rows, by their number."""


@dataclass(frozen=True)
class Injected:
    """A noisy pool: as many rows as there are clean pairs, row i made of pair i."""

    image: Numbers
    """(n,): which clean image a row has; which off-topic image, where its kind is OFF_TOPIC."""
    caption: Numbers
    """(n,): which clean caption."""
    kind: npt.NDArray[np.int8]
    """(n,): CLEAN, SHUFFLED or OFF_TOPIC."""


def inject(
    texts: Sequence[str], n_off_topic: int, shuffled: float, off_topic: float, seed: int
) -> Injected:
    """Spoils ⌊rate · n⌋ of the n clean pairs, whose captions are `texts`, in either way.

    Shuffled rows exchange their captions among each other, so that each caption is still there
    as often as before; no row gets one of its own text. Off-topic rows keep their caption and get
    an image that no other row has. Rows are chosen by key.

    Raises HeadraceError if a rate is not in [0, 1], both together are above 1, `n_off_topic`
    images are too few, or one text is the caption of over half of the rows to shuffle.
    """
    n = len(texts)
    spoilt, foreign = _counts(n, n_off_topic, shuffled, off_topic)
    rows = keyed.permutation(n, "spoilt rows", seed)
    image, caption, kind = np.arange(n), np.arange(n), np.full(n, CLEAN, np.int8)
    exchanging, leaving = rows[:spoilt], rows[spoilt : spoilt + foreign]
    caption[exchanging] = _exchanged(exchanging, numbered(texts), texts)
    kind[exchanging] = SHUFFLED
    image[leaving] = keyed.permutation(n_off_topic, "off-topic images", seed)[:foreign]
    kind[leaving] = OFF_TOPIC
    return Injected(image, caption, kind)


def _counts(n: int, n_off_topic: int, shuffled: float, off_topic: float) -> tuple[int, int]:
    for name, rate in (("shuffled", shuffled), ("off_topic", off_topic)):
        if not 0 <= rate <= 1:
            raise HeadraceError(f"{name}: a rate of {rate}; give one from 0 to 1")
    spoilt, foreign = share(n, shuffled), share(n, off_topic)
    if spoilt + foreign > n:
        raise HeadraceError(f"shuffled: {shuffled} and off_topic: {off_topic} are above 1 together")
    if foreign > n_off_topic:
        raise HeadraceError(
            f"off_topic: a rate of {off_topic} needs {foreign} off-topic images, and there are "
            f"{n_off_topic}: give more of them, or a lower rate"
        )
    return spoilt, foreign


def _exchanged(rows: Numbers, number: Numbers, texts: Sequence[str]) -> Numbers:
    """Whose caption each of the rows (in random order) gets: one of another text.

    Rows of equal text are brought together, and all are moved on by the size of the largest such
    group, which leads each out of its own.
    """
    if not len(rows):
        return rows
    found, first, group, sizes = np.unique(
        number[rows], return_index=True, return_inverse=True, return_counts=True
    )
    largest = int(sizes.max())
    if 2 * largest > len(rows):
        raise HeadraceError(
            f"shuffled: {largest} of the {len(rows)} rows to shuffle have the caption "
            f"{texts[found[sizes.argmax()]][:60]!r}, and there are too few others to exchange it "
            "for: give pairs of more captions, or another rate"
        )
    # Groups come in the order of their first row, which is random.
    together = np.argsort(first[group], kind="stable")
    caption = np.empty(len(rows), np.int64)
    caption[together] = rows[np.roll(together, -largest)]
    return caption


def scores_of(
    injected: Injected, images: Embeddings, captions: Embeddings, off_topic_images: Embeddings
) -> Scores:
    """The cosine of each row's image and caption: (n,) float32.

    `images` and `captions` (n, D) of the clean pairs, `off_topic_images` (n_off_topic, D), all of
    unit length. Raises HeadraceError if they are not, and ValueError if the shapes disagree.
    """
    clean = len(images)
    if clean != len(injected.kind) or images.shape != captions.shape:
        raise ValueError(f"{len(injected.kind)} rows of {images.shape} and {captions.shape}")
    for what, embeddings in (("off-topic image", off_topic_images), ("image", images)):
        check_unit(embeddings, what)
    check_unit(captions, "caption")
    pool = np.concatenate([images, off_topic_images]) if len(off_topic_images) else images
    which = injected.image + clean * (injected.kind == OFF_TOPIC)
    return chosen_cosines(pool[which], captions, injected.caption[:, None])[:, 0]
