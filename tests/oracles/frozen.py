"""Losses with what their papers detach taken from other log-probs: ℓ(x; fixed).

At `fixed = x` they are the losses themselves; their derivative in x alone is what a gradient step sees.
"""

import torch
import torch.nn.functional as F


def ratios(x):
    return x.chosen - x.ref_chosen, x.rejected - x.ref_rejected


def kto(x, fixed, beta=0.1):
    (a, b), (fixed_a, fixed_b) = ratios(x), ratios(fixed)
    z_w, z_l = max(fixed_b.mean(), 0.0), max(fixed_a.mean(), 0.0)
    return (1 - torch.sigmoid(beta * (a - z_w))) + (1 - torch.sigmoid(beta * (z_l - b)))


def beta_dpo(x, fixed, beta=0.1, alpha=0.6):
    (a, b), (fixed_a, fixed_b) = ratios(x), ratios(fixed)
    beta_batch = max(beta * (1 + alpha * (fixed_a - fixed_b).mean().item()), 1e-3)
    return -F.logsigmoid(beta_batch * (a - b))


def adadpo(x, fixed, beta=0.1, cap=2.0):
    (a, b), (fixed_a, _) = ratios(x), ratios(fixed)
    rho = torch.exp(fixed.chosen / fixed.chosen_tokens - fixed.rejected / fixed.rejected_tokens).clamp(max=cap)
    return -F.logsigmoid(beta * (fixed_a + rho * (a - fixed_a) - b))


FROZEN = {f.__name__: f for f in (kto, beta_dpo, adadpo)}
