"""Truth for `discopop`: coefficients."""

import torch

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, tau=0.05):
    z = beta * (ratios(x)[0] - ratios(x)[1])
    g, tail = s(z / tau), s(-z / tau)
    # each product with g is written in logarithms, so that 0 · ∞ does not arise
    g_exp = torch.exp(torch.log1p(torch.exp(-(z / tau).abs())).neg() + torch.clamp(z / tau, max=0) - z)
    log_s = torch.clamp(z, max=0) - torch.log1p(torch.exp(-z.abs()))
    return equal(beta * (tail * s(-z) + g_exp - (g * tail * log_s + tail * g_exp) / tau))
