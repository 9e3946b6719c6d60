"""Truth for `beta_dpo`: coefficients and loss."""

import torch.nn.functional as F

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, alpha=0.6, m0=0.0, floor=1e-3):
    u = ratios(x)[0] - ratios(x)[1]
    now = max(beta * (1 + alpha * (u.mean().item() - m0)), floor)
    return equal(now * s(-now * u))


def loss_with_detached(x, fixed, beta=0.1, alpha=0.6):
    (a, b), (fixed_a, fixed_b) = ratios(x), ratios(fixed)
    beta_batch = max(beta * (1 + alpha * (fixed_a - fixed_b).mean().item()), 1e-3)
    return -F.logsigmoid(beta_batch * (a - b))
