"""Truth for `apo_zero`: coefficients."""

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return beta * s(beta * a) * s(-beta * a), beta * s(beta * b) * s(-beta * b)
