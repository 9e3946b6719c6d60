"""Truth for `dpo_hinge`: coefficients."""

from tests.oracles.formulas import equal, ratios


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    return equal(beta * (beta * (a - b) < 1).double())
