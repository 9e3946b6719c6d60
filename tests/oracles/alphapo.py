"""Truth for `alphapo`: coefficients, loss and domain."""

import torch

from tests.oracles.formulas import LARGEST, lengths, means, s


def coefficients(x, beta=2.5, gamma=0.1, alpha=0.25):
    n_w, n_l = lengths(x)
    e_w, e_l = torch.exp(-alpha * x.chosen / n_w), torch.exp(-alpha * x.rejected / n_l)
    d = beta * s(gamma - beta * (e_l - e_w) / alpha)
    return d * e_w / n_w, d * e_l / n_l


def loss(x, beta=2.5, gamma=0.1, alpha=0.25):
    r_w, r_l = ((1 - q.exp() ** -alpha) / alpha for q in means(x))
    return torch.log(1 + torch.exp(gamma - beta * (r_w - r_l)))


def domain(x, alpha=0.25):
    return (alpha * -x.chosen / x.chosen_tokens < LARGEST) & (alpha * -x.rejected / x.rejected_tokens < LARGEST)
