"""Truth for `bpo`: coefficients and loss."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1, alpha=0.3):
    a, b = ratios(x)
    d = beta * s(-beta * torch.minimum(a, -alpha * b))
    share = 0.5 * (1 + torch.sign(-alpha * b - a))  # 1 where the chosen reward is the smaller, ½ at a tie
    return d * share, alpha * d * (1 - share)


def loss(x, beta=0.1, alpha=0.3):
    a, b = ratios(x)
    return torch.maximum(-F.logsigmoid(beta * a), -F.logsigmoid(-alpha * beta * b))
