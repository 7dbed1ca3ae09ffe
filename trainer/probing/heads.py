"""The heads of a probe, under the names of Apple's release (apple/ml-aim), and their norm.

Shapes: B images, K patches, D width, H attention heads of d = D / H channels, C classes.
Heads of one window share its norm and their reading of the patches: the query is a constant, so

    scores = x · (Wkᵀ q)   per attention head, and   values = Wv · Σ softmax(scores) x

are the release's attention to the letter, without the keys and values of every patch: K D H a head
where those take 2 K D².
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.stream.keyed import base_key

EPS = 1e-6
"""Added to the variance (AIM release)."""

MOMENTUM = 0.1
"""Weight of the newest batch in the running averages: torch's default, which the release keeps."""

QUERY_DEVIATION = 0.02
"""Of the first values of the query (AIM release)."""


class Norm(nn.Module):
    """BatchNorm over tokens without gain and bias, whose batch is that of all ranks.

    What a batch's mean and variance are is for the caller to say: see `statistics.py`.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Changes (B, K, D) in place: a trunk's features are the largest thing in memory."""
        return x.sub_(mean).mul_((variance + EPS).rsqrt())

    def average(self, x: Tensor) -> Tensor:
        """The same by the running averages, as in evaluation."""
        return self(x, self.running_mean, self.running_var)

    def track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Adds a batch of `count` tokens to the running averages, if it is finite.

        `variance` is biased; as in torch, the one that is kept is not.
        """
        finite = (mean + variance).isfinite().all()
        weight = MOMENTUM * finite
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(torch.where(finite, mean, self.running_mean), weight)
        self.running_var.lerp_(torch.where(finite, unbiased, self.running_var), weight)
        self.num_batches_tracked += finite


class Attentive(nn.Module):
    """The release's AttentionPoolingClassifier: 2 D² + D + D C parameters (AIM eq. 4)."""

    def __init__(self, bn: Norm, width: int, num_heads: int, classes: int) -> None:
        """`bn` is shared with the other heads of its window."""
        super().__init__()
        self.num_heads = num_heads
        self.bn = bn
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.linear = nn.Linear(width, classes, bias=False)

    def questions(self) -> Tensor:
        """What the patches are multiplied with, (H, D): the query sent back through the keys."""
        query = self.cls_token.view(self.num_heads, -1)
        keys = self.k.weight.unflatten(0, query.shape)  # (H, d, D)
        return torch.einsum("hd,hde->he", query, keys) / math.sqrt(query.shape[1])

    def answer(self, pooled: Tensor) -> Tensor:
        """Logits (B, C) from what each attention head has gathered, (B, H, D)."""
        values = self.v.weight.unflatten(0, (self.num_heads, -1))  # (H, d, D)
        classified: Tensor = self.linear(torch.einsum("bhe,hde->bhd", pooled, values).flatten(1))
        return classified


class Linear(nn.Module):
    """One linear of the mean over patches, without bias as the release's: D C parameters.

    The paper reports such probes in its ablations; its recipe could not be read, so norm, bias and
    training here are our reading of it.
    """

    def __init__(self, bn: Norm, width: int, num_heads: int, classes: int) -> None:
        """`bn` is shared with the other heads of its window; there is no attention."""
        super().__init__()
        self.bn = bn
        self.linear = nn.Linear(width, classes, bias=False)


Head = Attentive | Linear

KINDS: dict[str, type[Attentive] | type[Linear]] = {"attentive": Attentive, "linear": Linear}


@torch.no_grad()
def init_weights(head: Head, seed: int) -> None:
    """Draws each weight by its name, so that all cells of a grid begin alike.

    Matrices are uniform within 1 / √inputs, torch's own first values of a linear.
    """
    for name, parameter in head.named_parameters():
        drawn = torch.Generator().manual_seed(base_key(seed, "probe", name) >> 1)
        value = torch.empty(parameter.shape)
        if name == "cls_token":
            value.normal_(std=QUERY_DEVIATION, generator=drawn)
        else:
            bound = parameter.shape[1] ** -0.5
            value.uniform_(-bound, bound, generator=drawn)
        parameter.copy_(value)


def attend(x: Tensor, questions: Tensor) -> Tensor:
    """Means of the patches (B, K, D) weighted by how well they answer (Q, D): (B, Q, D)."""
    weights = (x @ questions.T).softmax(dim=1)
    return weights.transpose(1, 2) @ x


def logits(heads: Sequence[Head], x: Tensor) -> list[Tensor]:
    """(B, C) of each head, from the normalised patches (B, K, D) that they all read."""
    attentive = [head for head in heads if isinstance(head, Attentive)]
    pooled = iter(_pooled(attentive, x)) if attentive else iter(())
    mean = x.mean(dim=1)
    return [
        head.answer(next(pooled)) if isinstance(head, Attentive) else head.linear(mean)
        for head in heads
    ]


def _pooled(heads: Sequence[Attentive], x: Tensor) -> tuple[Tensor, ...]:
    """(B, H, D) of each; the patches are read once for all."""
    questions = torch.cat([head.questions() for head in heads])
    return attend(x, questions).unflatten(1, (len(heads), -1)).unbind(1)
