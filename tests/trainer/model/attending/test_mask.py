import math

import torch

from trainer.model.attending import mask


def literal_visible(query, key, prefix):
    """AIM 4.2: bidirectional over the first S patches, causal after."""
    return key < prefix or key <= query


def test_mask_is_the_papers_for_every_prefix_length_at_once():
    K = 7
    found = mask.prefix_mask(torch.arange(K + 1), K)
    assert found.shape == (K + 1, 1, K, K)
    assert found.dtype == torch.bool
    for S in range(K + 1):
        for i in range(K):
            for j in range(K):
                assert found[S, 0, i, j] == literal_visible(i, j, S), (S, i, j)


def test_prefix_one_is_causal_and_prefix_k_is_bidirectional():
    causal, full = mask.prefix_mask(torch.tensor([1, 5]), 5)
    assert torch.equal(causal[0], torch.ones(5, 5).tril().bool())
    assert full.all()


def test_attention_is_the_softmax_average_over_visible_keys():
    B, heads, K, width = 2, 2, 5, 3
    q, k, v = torch.randn(
        3, B, heads, K, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    prefix = torch.tensor([1, 3])
    out = mask.attend(q, k, v, mask.prepare(prefix, K))
    for b in range(B):
        for h in range(heads):
            for i in range(K):
                seen = [j for j in range(K) if literal_visible(i, j, int(prefix[b]))]
                weights = [math.exp(q[b, h, i] @ k[b, h, j] / math.sqrt(width)) for j in seen]
                mean = sum(w * v[b, h, j] for w, j in zip(weights, seen, strict=True))
                torch.testing.assert_close(out[b, h, i], mean / sum(weights))
