"""Truth for `kto`: coefficients and loss."""

import torch

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    k_w, k_l = s(beta * (a - max(b.mean(), 0.0))), s(beta * (max(a.mean(), 0.0) - b))
    return beta * k_w * (1 - k_w), beta * k_l * (1 - k_l)


def loss_with_detached(x, fixed, beta=0.1):
    (a, b), (fixed_a, fixed_b) = ratios(x), ratios(fixed)
    z_w, z_l = max(fixed_b.mean(), 0.0), max(fixed_a.mean(), 0.0)
    return (1 - torch.sigmoid(beta * (a - z_w))) + (1 - torch.sigmoid(beta * (z_l - b)))
