"""Truth for `ipo`: coefficients and loss."""

from tests.oracles.formulas import equal, ratios


def coefficients(x, tau=0.1):
    a, b = ratios(x)
    return equal(2 * (1 / (2 * tau) - (a - b)))


def loss(x, tau=0.1):
    return ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - 1 / (2 * tau)) ** 2
