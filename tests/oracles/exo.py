"""Truth for `exo`: coefficients."""

from math import log

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, eps=1e-3):
    a, b = ratios(x)
    q = s(beta * (a - b))
    return equal(beta * q * s(-beta * (a - b)) * (log((1 - eps) / eps) - beta * (a - b)))
