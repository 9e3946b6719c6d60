"""Truth for `cdpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles import dpo
from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, eps=0.1):
    return equal(beta * (s(-beta * (ratios(x)[0] - ratios(x)[1])) - eps))


def loss(x, beta=0.1, eps=0.1):
    a, b = ratios(x)
    return (1 - eps) * dpo.loss(x, beta) - eps * F.logsigmoid(beta * (b - a))
