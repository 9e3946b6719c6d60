"""Truth for `bce`: coefficients and loss."""

import torch

from tests.oracles.formulas import ratios, s


def coefficients(x):
    a, b = ratios(x)
    return s(-a), s(b)


def loss(x):
    a, b = ratios(x)
    return torch.log(1 + torch.exp(-a)) + torch.log(1 + torch.exp(b))
