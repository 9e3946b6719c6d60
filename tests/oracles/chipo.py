"""Truth for `chipo`: coefficients, loss and domain."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import LARGEST, ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (torch.exp(a) + a - torch.exp(b) - b))
    return d * (torch.exp(a) + 1), d * (torch.exp(b) + 1)


def loss(x, beta=0.1):
    t_w, t_l = (r.exp() for r in ratios(x))
    return -F.logsigmoid(beta * (t_w + t_w.log()) - beta * (t_l + t_l.log()))


def domain(x):
    a, b = ratios(x)
    return (a < LARGEST) & (b < LARGEST)
