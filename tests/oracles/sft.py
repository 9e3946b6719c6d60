"""Truth for `sft`: coefficients."""

import torch


def coefficients(x):
    d = torch.full_like(x.chosen, len(x.chosen) / x.chosen_tokens.sum().item())
    return d, torch.zeros_like(d)
