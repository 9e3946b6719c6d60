"""Truth for `rdpo`: coefficients and loss."""

import torch

from tests.oracles.formulas import equal, lengths, ratios, s


def coefficients(x, beta=0.1, alpha=0.2):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    return equal(beta * s(-beta * (a - b) - alpha * (n_w - n_l)))


def loss(x, beta=0.1, alpha=0.2):
    a, b = ratios(x)
    longer = alpha * (x.chosen_tokens - x.rejected_tokens).double()
    return torch.log(1 + torch.exp(-beta * (a - b) - longer))
