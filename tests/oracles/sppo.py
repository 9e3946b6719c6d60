"""Truth for `sppo`: coefficients."""

from tests.oracles.formulas import ratios


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return 2 * (0.5 / beta - a), 2 * (0.5 / beta + b)
