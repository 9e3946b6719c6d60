"""Truth for `dpop`: coefficients and loss."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1, lam=50.0):
    a, b = ratios(x)
    z = beta * (a - b - lam * torch.clamp(-a, min=0))
    return beta * s(-z) * (1 + lam * (a < 0)), beta * s(-z)


def loss(x, beta=0.1, lam=50.0):
    penalty = torch.clamp(x.ref_chosen - x.chosen, min=0)
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - lam * penalty))
