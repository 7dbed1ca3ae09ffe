"""The gradient of a contrastive loss in parts: gradient caching (GradCache, arXiv 2101.06983).

Every pair meets every other one in the loss, so parts of a batch have no loss of their own. But all
that the loss says to a tower is the gradient of its features. So all features are made first, and
nothing of them is kept but their values; then the loss and the gradient of these; then each part's
features again, to pass its gradient on. The same gradient as of the batch at once, to the last bits
of sums, for one forward pass more.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Features = tuple[Tensor, Tensor, Tensor]
"""Of images and of their captions, (n, d) each, and the factor of their products, (1,)."""


def backward(loss_of: Callable[..., Tensor], features: Features) -> Tensor:
    """Adds the gradients of `loss_of(*features)`, and returns it."""
    loss = loss_of(*features)
    loss.backward()
    return loss.detach()


def backward_in_parts(
    loss_of: Callable[..., Tensor], parts: int, features: Callable[[int, bool], Features]
) -> tuple[Tensor, list[Features]]:
    """The same of a batch in parts; returns the features of each, too.

    `features(part, last)` makes those of a part, alike whenever it is asked; `last` says that its
    backward pass is the last one of the step.
    """
    with torch.no_grad():
        seen = [features(part, False) for part in range(parts)]
    images, captions, scales = zip(*seen, strict=True)
    leaves = [x.detach().requires_grad_() for x in (torch.cat(images), torch.cat(captions))]
    scale = scales[-1].detach().requires_grad_()
    loss = backward(loss_of, (*leaves, scale))
    image, caption = (_gradient(leaf).tensor_split(parts) for leaf in leaves)
    for part in range(parts):
        last = part == parts - 1
        # Zeros, not nothing: what FSDP adds up over ranks must be the same in every part.
        of_scale = _gradient(scale) if last else torch.zeros_like(scale)
        torch.autograd.backward(features(part, last), (image[part], caption[part], of_scale))
    return loss, seen


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad
