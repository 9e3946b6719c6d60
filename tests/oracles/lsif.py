"""Truth for `lsif`: coefficients, loss and domain."""

import torch

from tests.oracles.formulas import LARGEST, ratios


def coefficients(x):
    a, b = ratios(x)
    return torch.exp(a), torch.exp(2 * b)


def loss(x):
    a, b = ratios(x)
    return 0.5 * b.exp() ** 2 - a.exp()


def domain(x):
    a, b = ratios(x)
    return (a < LARGEST) & (2 * b < LARGEST)
