"""Truth for `fpa`: coefficients."""

from tests.oracles.formulas import equal, s


def coefficients(x, beta=0.1):
    u = (x.future_chosen - x.ref_chosen) - (x.future_rejected - x.ref_rejected)
    return equal(beta * s(-beta * u))
