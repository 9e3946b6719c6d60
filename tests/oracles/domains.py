"""Where losses exist in float64, for the objectives that do not exist everywhere."""

from math import log

LARGEST = 709.0  # exp of it is representable in float64


def ratios(x):
    return x.chosen - x.ref_chosen, x.rejected - x.ref_rejected


def orpo(x):
    return (x.chosen < 0) & (x.rejected < 0)


def alphapo(x, alpha=0.25):
    return (alpha * -x.chosen / x.chosen_tokens < LARGEST) & (alpha * -x.rejected / x.rejected_tokens < LARGEST)


def squaredpo(x):
    a, b = ratios(x)
    return (a > -700) & (b > -700)  # |A| exp(−A), not only exp(−A)


def chipo(x):
    a, b = ratios(x)
    return (a < LARGEST) & (b < LARGEST)


def lsif(x):
    a, b = ratios(x)
    return (a < LARGEST) & (2 * b < LARGEST)


def ukl(x):
    return ratios(x)[1] < LARGEST


def ddro(x):
    return ratios(x)[1] < log(2)


DOMAINS = {f.__name__: f for f in (orpo, alphapo, squaredpo, chipo, lsif, ukl, ddro)}
