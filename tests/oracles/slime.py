"""Truth for `slime`: coefficients of tokens and loss."""

from math import exp, log1p

import torch
import torch.nn.functional as F

from tests.oracles.formulas import logistic, tokens


def token_coefficients(x, lam_w=0.1, lam_l=0.1, lam_d=1.0, delta=1.25, hard=1.5, soft=1.0, k=2.5, p=2.5):
    chosen, rejected = [], []
    for i in range(len(x.chosen_tokens)):
        w, l = tokens(x, i)  # noqa: E741
        gap = sum(w) - sum(l)
        sig = logistic(-k * (gap - soft)) if gap < hard else 0.0
        q = sig + (hard - gap) * k * sig * (1 - sig) if gap < hard else 0.0
        chosen.append([lam_w + lam_d * q] * len(w))
        rejected.append([
            lam_d * q - lam_l * p / len(l) * log1p(exp(-t - delta)) ** (p - 1) * logistic(-t - delta) for t in l
        ])
    return chosen, rejected


def loss(x, lam_w=0.1, lam_l=0.1, lam_d=1.0, delta=1.25, hard=1.5, soft=1.0, k=2.5, p=2.5):
    losses = []
    for i, n in enumerate(x.rejected_tokens.tolist()):
        held = F.softplus(-x.rejected_token_logps[i, :n] - delta).pow(p).mean()
        gap = x.chosen[i] - x.rejected[i]
        apart = torch.clamp(hard - gap, min=0) * torch.sigmoid(-k * (gap - soft))
        losses.append(-lam_w * x.chosen[i] + lam_l * held + lam_d * apart)
    return torch.stack(losses)
