"""Truth for `squaredpo`: coefficients, loss and domain."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (a * torch.exp(-a) - b * torch.exp(-b)))
    return d * (1 - a) * torch.exp(-a), d * (1 - b) * torch.exp(-b)


def loss(x, beta=0.1):
    t_w, t_l = (r.exp() for r in ratios(x))  # f(t) = (log t)²/2 has f'(t) = log t / t
    return -F.logsigmoid(beta * (t_w.log() / t_w - t_l.log() / t_l))


def domain(x):
    a, b = ratios(x)
    return (a > -700) & (b > -700)
