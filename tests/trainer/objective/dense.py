"""The reference: every position predicts, and a mask says what counts. Written from the paper."""

import torch


def patches(images, side):
    """(B, K, P) by unfolding: values by row, column, channel."""
    x = images.unfold(2, side, side).unfold(3, side, side)  # (B, 3, rows, columns, side, side)
    return x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def normalised(images, side):
    """Patches with mean 0 and (unbiased) variance 1."""
    x = patches(images, side)
    n = x.shape[-1]
    centred = x - x.sum(-1, keepdim=True) / n
    variance = centred.pow(2).sum(-1, keepdim=True) / (n - 1)
    return centred / torch.sqrt(variance + 1e-6)


def next_patch_loss(predictions, targets, prefix):
    """Mean over all counted pairs; (B, K, P), (B, K, P), both in the order, and (B,)."""
    errors = ((predictions[:, :-1] - targets[:, 1:]) ** 2).mean(-1)  # (B, K-1), about 1 to K-1
    counts = torch.arange(1, targets.shape[1])[None, :] >= prefix[:, None]
    return errors[counts].mean()
