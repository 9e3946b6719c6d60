"""Truth for `rpo`: coefficients and loss."""

from tests.oracles import dpo
from tests.oracles.formulas import lengths, means, ratios, s


def coefficients(x, beta=0.1, lam=1.0):
    d = beta * s(-beta * (ratios(x)[0] - ratios(x)[1]))
    return d + lam / lengths(x)[0], d


def loss(x, beta=0.1, lam=1.0):
    return dpo.loss(x, beta) - lam * means(x)[0]
