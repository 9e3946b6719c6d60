"""The losses written out as in their papers, without the common form."""

import torch
import torch.nn.functional as F


def dpo(x, beta=0.1):
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)))


def ipo(x, tau=0.1):
    return ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - 1 / (2 * tau)) ** 2


def simpo(x, beta=2.0, gamma=1.0):
    return -F.logsigmoid(beta * x.chosen / x.chosen_tokens - beta * x.rejected / x.rejected_tokens - gamma)


def slic(x, delta=1.0, lam=0.1):
    return torch.clamp(delta - x.chosen + x.rejected, min=0) - lam * x.chosen


def cpo(x, beta=0.1, lam=1.0):
    return -F.logsigmoid(beta * x.chosen - beta * x.rejected) - lam * x.chosen


def dpop(x, beta=0.1, lam=50.0):
    penalty = torch.clamp(x.ref_chosen - x.chosen, min=0)
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - lam * penalty))


LOSSES = {f.__name__: f for f in (dpo, ipo, simpo, slic, cpo, dpop)}
