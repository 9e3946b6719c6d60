"""Truth for `rrhf`: coefficients and loss."""

import torch

from tests.oracles.formulas import lengths, means


def coefficients(x, lam=1.0):
    n_w, n_l = lengths(x)
    active = (x.chosen / n_w < x.rejected / n_l).double()
    return active / n_w + lam, active / n_l


def loss(x, lam=1.0):
    q_w, q_l = means(x)
    return torch.maximum(q_l - q_w, torch.zeros_like(q_w)) - lam * x.chosen
