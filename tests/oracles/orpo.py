"""Truth for `orpo`: coefficients, loss and domain."""

import torch

from tests.oracles.formulas import lengths, means, s


def coefficients(x, lam=0.1):
    n_w, n_l = lengths(x)
    q_w, q_l = x.chosen / n_w, x.rejected / n_l
    rest_w, rest_l = -torch.expm1(q_w), -torch.expm1(q_l)
    d = lam * s(-(q_w - rest_w.log() - q_l + rest_l.log()))
    return 1 / n_w + d / (n_w * rest_w), d / (n_l * rest_l)


def loss(x, lam=0.1):
    p_w, p_l = (q.exp() for q in means(x))
    odds_ratio = (p_w / (1 - p_w)) / (p_l / (1 - p_l))
    return -p_w.log() + lam * torch.log(1 + 1 / odds_ratio)


def domain(x):
    return (x.chosen < 0) & (x.rejected < 0)
