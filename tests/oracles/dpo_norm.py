"""Truth for `dpo_norm`: coefficients."""

from tests.oracles.formulas import lengths, ratios, s


def coefficients(x, beta=0.1):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    d = beta * s(-beta * (a / n_w - b / n_l))
    return d / n_w, d / n_l
