"""Truth for `dpo_shift`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1, factor=0.95):
    a, b = ratios(x)
    d = beta * s(-beta * (a - factor * b))
    return d, factor * d


def loss(x, beta=0.1, factor=0.95):
    a, b = ratios(x)
    return -F.logsigmoid(beta * a - factor * beta * b)
