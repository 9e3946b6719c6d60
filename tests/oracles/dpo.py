"""Truth for `dpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return equal(beta * s(-beta * (a - b)))


def loss(x, beta=0.1):
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)))
