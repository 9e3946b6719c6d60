"""Truth for `odpo`: coefficients and loss."""

import torch

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, offset=1.0):
    return equal(beta * s(offset - beta * (ratios(x)[0] - ratios(x)[1])))


def loss(x, beta=0.1, offset=1.0):
    a, b = ratios(x)
    return torch.log(1 + torch.exp(offset - beta * (a - b)))
