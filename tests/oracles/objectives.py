"""Closed forms of the coefficients, derived by hand, as an independent truth.

u = (a_w − r_w) − (a_l − r_l); s is the logistic function; n are token counts. Each row is the derivative of the loss
in the objective's paper; the table is in Yuan et al., arXiv 2410.13828, Table 2 (margin part).
"""

import torch

s = torch.sigmoid


def dpo(x, beta=0.1):
    u = (x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)
    return beta * s(-beta * u), beta * s(-beta * u)


def ipo(x, tau=0.1):
    u = (x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)
    d = 2 * (1 / (2 * tau) - u)
    return d, d


def simpo(x, beta=2.0, gamma=1.0):
    n_w, n_l = x.chosen_tokens.double(), x.rejected_tokens.double()
    z = beta * x.chosen / n_w - beta * x.rejected / n_l
    return beta / n_w * s(gamma - z), beta / n_l * s(gamma - z)


def slic(x, delta=1.0, lam=0.1):
    active = (x.chosen - x.rejected < delta).double()
    return active + lam, active


def cpo(x, beta=0.1, lam=1.0):
    d = beta * s(-beta * (x.chosen - x.rejected))
    return d + lam, d


def dpop(x, beta=0.1, lam=50.0):
    below = (x.chosen < x.ref_chosen).double()
    shortfall = torch.clamp(x.ref_chosen - x.chosen, min=0)
    z = beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - lam * shortfall)
    return beta * s(-z) * (1 + lam * below), beta * s(-z)


CLOSED_FORMS = {f.__name__: f for f in (dpo, ipo, simpo, slic, cpo, dpop)}
