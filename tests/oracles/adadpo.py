"""Truth for `adadpo`: coefficients and loss."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import lengths, ratios, s


def coefficients(x, beta=0.1, cap=2.0):
    a, b = ratios(x)
    n_w, n_l = lengths(x)
    d = beta * s(-beta * (a - b))
    return d * torch.clamp(torch.exp(torch.clamp(x.chosen / n_w - x.rejected / n_l, max=99.0)), max=cap), d


def loss_with_detached(x, fixed, beta=0.1, cap=2.0):
    (a, b), (fixed_a, _) = ratios(x), ratios(fixed)
    rho = torch.exp(fixed.chosen / fixed.chosen_tokens - fixed.rejected / fixed.rejected_tokens).clamp(max=cap)
    return -F.logsigmoid(beta * (fixed_a + rho * (a - fixed_a) - b))
