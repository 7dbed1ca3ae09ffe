"""Held-out pairs, judged as training goes: the figures that `headrace filter evaluate` gives, too.

Every image is seen whole, as scoring sees it. The figures depend on how many pairs there are, so
they compare steps and runs on one set, and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.assess.auc import matched_auc
from pipeline.assess.cosines import Embeddings
from pipeline.assess.retrieval import recall
from pipeline.format.errors import HeadraceError
from trainer import distributed
from trainer.contrastive.config import FilterConfig
from trainer.distributed import World
from trainer.stream.augment import whole_view
from trainer.stream.batch import Batch
from trainer.stream.ordered import PADDING, held_out, ordered
from trainer.stream.source import Source

Share = tuple[Embeddings, Embeddings, list[str]]
"""(n, d) of images and of their captions, and these."""

MOST = 10_000
"""Pairs: all images meet all captions, which takes ten seconds of so many."""

ROUNDS = 1
"""Of the bootstrap, whose intervals are not logged."""


@dataclass(frozen=True)
class Validation:
    """A set of pairs, and how this rank reads its share."""

    source: Source
    world: World
    batch: int
    image_size: int

    @classmethod
    def open(cls, config: FilterConfig, world: World) -> "Validation":
        """Opens `config.validation`. Raises HeadraceError if it is no snapshot, or not of 2 to MOST
        pairs.
        """
        source = held_out(config.validation or "", config.stream.patience)
        if not 2 <= len(source) <= MOST:
            raise HeadraceError(
                f"validation: {source.shards.label} has {len(source):,} pairs; give 2 to {MOST:,}, "
                "which are compared with each other"
            )
        batch = max(1, config.stream.batch // (world.size * config.compute.micro_batches))
        return cls(source, world, batch, config.stream.image_size)

    def figures(
        self, embed: Callable[[Batch], tuple[Tensor, Tensor]], poll: Callable[[], None]
    ) -> dict[str, float]:
        """AUC and retrieval@1 both ways, over all ranks' pairs. A collective call.

        `embed` makes (n, d) features of a batch's images and of its captions. Raises HeadraceError
        if they are not of unit length, as where weights are not finite.
        """
        shares: list[Share] = []
        ranks = self.world.rank, self.world.size
        for batch in ordered(self.source, self.image_size, self.batch, *ranks, whole_view):
            poll()
            there = batch.samples != PADDING
            image, caption = (one.cpu()[there].numpy() for one in embed(batch))
            texts = [text for text, one in zip(batch.captions, there.tolist(), strict=True) if one]
            shares.append((image, caption, texts))
        # Step by step, so that pairs stand in the set's order, whatever the number of ranks.
        steps = zip(*distributed.gather(shares), strict=True)
        return _judged([share for step in steps for share in step])


def _judged(shares: list[Share]) -> dict[str, float]:
    images, captions = (np.concatenate([share[n] for share in shares]) for n in (0, 1))
    texts = [text for share in shares for text in share[2]]
    found = recall(images, captions, texts, seed=0, ks=(1,), rounds=ROUNDS)
    auc = matched_auc(images, captions, texts, seed=0, rounds=ROUNDS)
    return {"auc": auc.value} | {f"{way}@1": share[1].value for way, share in found.items()}
