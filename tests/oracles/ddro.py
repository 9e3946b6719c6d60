"""Truth for `ddro`: coefficients, loss and domain."""

from math import log

import torch

from tests.oracles.formulas import ratios


def coefficients(x):
    b = ratios(x)[1]
    return torch.ones_like(b), torch.exp(b) / (2 - torch.exp(b))


def loss(x):
    a, b = ratios(x)
    return -a - torch.log(2 - b.exp())


def domain(x):
    return ratios(x)[1] < log(2)
