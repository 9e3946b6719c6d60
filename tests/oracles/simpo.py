"""Truth for `simpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import lengths, s


def coefficients(x, beta=2.0, gamma=1.0):
    n_w, n_l = lengths(x)
    z = beta * x.chosen / n_w - beta * x.rejected / n_l
    return beta / n_w * s(gamma - z), beta / n_l * s(gamma - z)


def loss(x, beta=2.0, gamma=1.0):
    return -F.logsigmoid(beta * x.chosen / x.chosen_tokens - beta * x.rejected / x.rejected_tokens - gamma)
