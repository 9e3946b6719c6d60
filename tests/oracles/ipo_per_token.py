"""Truth for `ipo_per_token`: coefficients."""

from tests.oracles.formulas import lengths, ratios


def coefficients(x, tau=0.1):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    d = 2 * (1 / (2 * tau) - (a / n_w - b / n_l))
    return d / n_w, d / n_l
