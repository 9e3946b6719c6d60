"""Drawn gradients of pairs, from nearly orthogonal to nearly parallel, with positive coefficients."""

import torch

from preflens.types import BatchGram, PairCoefficients


def drawn_gradients(pairs, *, seed=0, width=12):
    """Gradients of both sides: a common part of drawn size, as near-duplicates have it, and sizes far apart."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    common, share = normal(pairs, width), 10 ** normal(pairs, 1)
    chosen, rejected = (normal(pairs, width) + share * common for _ in range(2))
    return torch.cat([chosen, rejected * (0.7 * normal(pairs, 1)).exp()])


def gram_of(gradients):
    return BatchGram(gradients @ gradients.T, torch.zeros(len(gradients), dtype=torch.float64))


def drawn_coefficients(pairs, *, seed=1, spread=0.5):
    g = torch.Generator().manual_seed(seed)
    d_w, d_l = (spread * torch.randn(2, pairs, generator=g, dtype=torch.float64)).exp() * 0.05
    return PairCoefficients(d_w, d_l)


def gram_of_rows(rows):
    """Gram of pairs whose gradients are the rows, the chosen ones first."""
    return gram_of(torch.as_tensor(rows, dtype=torch.float64))
