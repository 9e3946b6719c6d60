"""Truth for `aot_unpaired`: coefficients."""

from tests.oracles.formulas import by_rank, ratios, s


def coefficients(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (a.sort().values - b.sort().values))
    return d[by_rank(a)], d[by_rank(b)]
