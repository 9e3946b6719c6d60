"""Truth for `bco`: coefficients."""

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return beta * s(-beta * a), beta * s(beta * b)
