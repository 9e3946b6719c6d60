"""Truth for `robust_dpo`: coefficients."""

from tests.oracles.formulas import equal, ratios, s


def coefficients(x, beta=0.1, eps=0.1):
    z = beta * (ratios(x)[0] - ratios(x)[1])
    return equal(beta * ((1 - eps) * s(-z) + eps * s(z)) / (1 - 2 * eps))
