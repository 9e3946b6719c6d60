"""Truth for `apo_down`: coefficients."""

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    slope = s(beta * (a - b)) * s(beta * (b - a))
    return beta * (slope - s(beta * a) * s(-beta * a)), beta * slope
