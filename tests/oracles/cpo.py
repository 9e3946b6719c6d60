"""Truth for `cpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import s


def coefficients(x, beta=0.1, lam=1.0):
    d = beta * s(-beta * (x.chosen - x.rejected))
    return d + lam, d


def loss(x, beta=0.1, lam=1.0):
    return -F.logsigmoid(beta * x.chosen - beta * x.rejected) - lam * x.chosen
