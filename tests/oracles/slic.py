"""Truth for `slic`: coefficients and loss."""

import torch


def coefficients(x, delta=1.0, lam=0.1):
    active = (x.chosen - x.rejected < delta).double()
    return active + lam, active


def loss(x, delta=1.0, lam=0.1):
    return torch.clamp(delta - x.chosen + x.rejected, min=0) - lam * x.chosen
