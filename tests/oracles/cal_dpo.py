"""Truth for `cal_dpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return s(b - a) + 2 * (0.5 / beta - a), s(b - a) + 2 * (0.5 / beta + b)


def loss(x, beta=0.1):
    a, b = ratios(x)
    return -F.logsigmoid(a - b) + (a - 0.5 / beta) ** 2 + (b + 0.5 / beta) ** 2
