"""Truth for `nca`: coefficients."""

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return beta * (s(-beta * a) - 0.5 * s(beta * a)), 0.5 * beta * s(beta * b)
