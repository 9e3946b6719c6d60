"""The quantities that closed forms are written with.

A = a_w − r_w and B = a_l − r_l are log-ratios to the reference, u = A − B, n are token counts, s is the logistic
function. `x` is a `PairLogps`.
"""

from math import exp

import torch

LARGEST = 709.0  # exp of it is representable in float64

s = torch.sigmoid


def logistic(z):
    """The logistic function of a Python number."""
    return 1 / (1 + exp(-z))


def ratios(x):
    return x.chosen - x.ref_chosen, x.rejected - x.ref_rejected


def lengths(x):
    return x.chosen_tokens.double(), x.rejected_tokens.double()


def means(x):
    return x.chosen / x.chosen_tokens, x.rejected / x.rejected_tokens


def equal(d):
    """The same coefficient for both responses."""
    return d, d


def by_rank(values):
    """Ranks of values, smallest first, counted one by one."""
    return torch.tensor([int((values < v).sum()) for v in values])


def tokens(x, i):
    """Log-probs of the tokens of pair i, without padding: chosen, rejected."""
    n_w, n_l = int(x.chosen_tokens[i]), int(x.rejected_tokens[i])
    return x.chosen_token_logps[i, :n_w].tolist(), x.rejected_token_logps[i, :n_l].tolist()
