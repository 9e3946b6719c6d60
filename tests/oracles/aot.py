"""Truth for `aot`: coefficients."""

from tests.oracles.formulas import by_rank, equal, s


def coefficients(x, beta=0.1):
    margin, reference = x.chosen - x.rejected, (x.ref_chosen - x.ref_rejected).sort().values
    return equal(beta * s(-beta * (margin - reference[by_rank(margin)])))
