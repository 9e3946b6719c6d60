"""Closed forms of the coefficients, derived by hand, as an independent truth.

A = a_w − r_w and B = a_l − r_l are log-ratios, u = A − B; s is the logistic function; n are token counts. Each row is
the derivative of the loss in the objective's paper: d_w = −∂ℓ/∂a_w, d_l = +∂ℓ/∂a_l. The margin part of the table is in
Yuan et al., arXiv 2410.13828, Table 2.
"""

from math import log

import torch

s = torch.sigmoid


def ratios(x):
    return x.chosen - x.ref_chosen, x.rejected - x.ref_rejected


def lengths(x):
    return x.chosen_tokens.double(), x.rejected_tokens.double()


def both(d):
    return d, d


def dpo(x, beta=0.1):
    a, b = ratios(x)
    return both(beta * s(-beta * (a - b)))


def rdpo(x, beta=0.1, alpha=0.2):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    return both(beta * s(-beta * (a - b) - alpha * (n_w - n_l)))


def ipo(x, tau=0.1):
    a, b = ratios(x)
    return both(2 * (1 / (2 * tau) - (a - b)))


def simpo(x, beta=2.0, gamma=1.0):
    n_w, n_l = lengths(x)
    z = beta * x.chosen / n_w - beta * x.rejected / n_l
    return beta / n_w * s(gamma - z), beta / n_l * s(gamma - z)


def rrhf(x, lam=1.0):
    n_w, n_l = lengths(x)
    active = (x.chosen / n_w < x.rejected / n_l).double()
    return active / n_w + lam, active / n_l


def slic(x, delta=1.0, lam=0.1):
    active = (x.chosen - x.rejected < delta).double()
    return active + lam, active


def cpo(x, beta=0.1, lam=1.0):
    d = beta * s(-beta * (x.chosen - x.rejected))
    return d + lam, d


def dpop(x, beta=0.1, lam=50.0):
    a, b = ratios(x)
    z = beta * (a - b - lam * torch.clamp(-a, min=0))
    return beta * s(-z) * (1 + lam * (a < 0)), beta * s(-z)


def kto(x, beta=0.1):
    a, b = ratios(x)
    k_w, k_l = s(beta * (a - max(b.mean(), 0.0))), s(beta * (max(a.mean(), 0.0) - b))
    return beta * k_w * (1 - k_w), beta * k_l * (1 - k_l)


def sppo(x, beta=0.1):
    a, b = ratios(x)
    return 2 * (0.5 / beta - a), 2 * (0.5 / beta + b)


def dpo_hinge(x, beta=0.1):
    a, b = ratios(x)
    return both(beta * (beta * (a - b) < 1).double())


def ipo_per_token(x, tau=0.1):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    d = 2 * (1 / (2 * tau) - (a / n_w - b / n_l))
    return d / n_w, d / n_l


def exo(x, beta=0.1, eps=1e-3):
    a, b = ratios(x)
    q = s(beta * (a - b))
    return both(beta * q * s(-beta * (a - b)) * (log((1 - eps) / eps) - beta * (a - b)))


def nca(x, beta=0.1):
    a, b = ratios(x)
    return beta * (s(-beta * a) - 0.5 * s(beta * a)), 0.5 * beta * s(beta * b)


def robust_dpo(x, beta=0.1, eps=0.1):
    z = beta * (ratios(x)[0] - ratios(x)[1])
    return both(beta * ((1 - eps) * s(-z) + eps * s(z)) / (1 - 2 * eps))


def bco(x, beta=0.1):
    a, b = ratios(x)
    return beta * s(-beta * a), beta * s(beta * b)


def by_rank(values):
    """Ranks of values, smallest first, counted one by one."""
    return torch.tensor([int((values < v).sum()) for v in values])


def aot(x, beta=0.1):
    margin, reference = x.chosen - x.rejected, (x.ref_chosen - x.ref_rejected).sort().values
    return both(beta * s(-beta * (margin - reference[by_rank(margin)])))


def aot_unpaired(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (a.sort().values - b.sort().values))
    return d[by_rank(a)], d[by_rank(b)]


def apo_zero(x, beta=0.1):
    a, b = ratios(x)
    return beta * s(beta * a) * s(-beta * a), beta * s(beta * b) * s(-beta * b)


def apo_down(x, beta=0.1):
    a, b = ratios(x)
    slope = s(beta * (a - b)) * s(beta * (b - a))
    return beta * (slope - s(beta * a) * s(-beta * a)), beta * slope


def discopop(x, beta=0.1, tau=0.05):
    z = beta * (ratios(x)[0] - ratios(x)[1])
    g, tail = s(z / tau), s(-z / tau)
    # each product with g is written in logarithms, so that 0 · ∞ does not arise
    g_exp = torch.exp(torch.log1p(torch.exp(-(z / tau).abs())).neg() + torch.clamp(z / tau, max=0) - z)
    log_s = torch.clamp(z, max=0) - torch.log1p(torch.exp(-z.abs()))
    return both(beta * (tail * s(-z) + g_exp - (g * tail * log_s + tail * g_exp) / tau))


def sft(x):
    d = torch.full_like(x.chosen, len(x.chosen) / x.chosen_tokens.sum().item())
    return d, torch.zeros_like(d)


def dpo_norm(x, beta=0.1):
    (a, b), (n_w, n_l) = ratios(x), lengths(x)
    d = beta * s(-beta * (a / n_w - b / n_l))
    return d / n_w, d / n_l


def orpo(x, lam=0.1):
    n_w, n_l = lengths(x)
    q_w, q_l = x.chosen / n_w, x.rejected / n_l
    rest_w, rest_l = -torch.expm1(q_w), -torch.expm1(q_l)
    d = lam * s(-(q_w - rest_w.log() - q_l + rest_l.log()))
    return 1 / n_w + d / (n_w * rest_w), d / (n_l * rest_l)


def alphapo(x, beta=2.5, gamma=0.1, alpha=0.25):
    n_w, n_l = lengths(x)
    e_w, e_l = torch.exp(-alpha * x.chosen / n_w), torch.exp(-alpha * x.rejected / n_l)
    d = beta * s(gamma - beta * (e_l - e_w) / alpha)
    return d * e_w / n_w, d * e_l / n_l


def cal_dpo(x, beta=0.1):
    a, b = ratios(x)
    return s(b - a) + 2 * (0.5 / beta - a), s(b - a) + 2 * (0.5 / beta + b)


def beta_dpo(x, beta=0.1, alpha=0.6, m0=0.0, floor=1e-3):
    u = ratios(x)[0] - ratios(x)[1]
    now = max(beta * (1 + alpha * (u.mean().item() - m0)), floor)
    return both(now * s(-now * u))


def bdpo(x, beta=0.1, lam=0.5):
    a, b = ratios(x)
    # the mixture by its larger term, so that exp does not overflow
    top = torch.clamp(b, min=0)
    mixture = lam * torch.exp(b - top) + (1 - lam) * torch.exp(-top)
    d = beta * s(-beta * (a - top - mixture.log()))
    return d, d * lam * torch.exp(b - top) / mixture


def dpo_shift(x, beta=0.1, factor=0.95):
    a, b = ratios(x)
    d = beta * s(-beta * (a - factor * b))
    return d, factor * d


def odpo(x, beta=0.1, offset=1.0):
    return both(beta * s(offset - beta * (ratios(x)[0] - ratios(x)[1])))


def rpo(x, beta=0.1, lam=1.0):
    d = beta * s(-beta * (ratios(x)[0] - ratios(x)[1]))
    return d + lam / lengths(x)[0], d


def cdpo(x, beta=0.1, eps=0.1):
    return both(beta * (s(-beta * (ratios(x)[0] - ratios(x)[1])) - eps))


def squaredpo(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (a * torch.exp(-a) - b * torch.exp(-b)))
    return d * (1 - a) * torch.exp(-a), d * (1 - b) * torch.exp(-b)


def chipo(x, beta=0.1):
    a, b = ratios(x)
    d = beta * s(-beta * (torch.exp(a) + a - torch.exp(b) - b))
    return d * (torch.exp(a) + 1), d * (torch.exp(b) + 1)


def bpo(x, beta=0.1, alpha=0.3):
    a, b = ratios(x)
    d = beta * s(-beta * torch.minimum(a, -alpha * b))
    share = 0.5 * (1 + torch.sign(-alpha * b - a))  # 1 where the chosen reward is the smaller, ½ at a tie
    return d * share, alpha * d * (1 - share)


def adadpo(x, beta=0.1, cap=2.0):
    a, b = ratios(x)
    n_w, n_l = lengths(x)
    d = beta * s(-beta * (a - b))
    return d * torch.clamp(torch.exp(torch.clamp(x.chosen / n_w - x.rejected / n_l, max=99.0)), max=cap), d


def lsif(x):
    a, b = ratios(x)
    return torch.exp(a), torch.exp(2 * b)


def ukl(x):
    return torch.ones_like(x.chosen), torch.exp(ratios(x)[1])


def bce(x):
    a, b = ratios(x)
    return s(-a), s(b)


def ddro(x):
    b = ratios(x)[1]
    return torch.ones_like(b), torch.exp(b) / (2 - torch.exp(b))


def fpa(x, beta=0.1):
    u = (x.future_chosen - x.ref_chosen) - (x.future_rejected - x.ref_rejected)
    return both(beta * s(-beta * u))


CLOSED_FORMS = {
    f.__name__: f
    for f in (
        dpo, rdpo, simpo, ipo, rrhf, slic, cpo, dpop, kto, sppo, dpo_hinge, ipo_per_token, exo, nca, robust_dpo, bco,
        aot, aot_unpaired, apo_zero, apo_down, discopop, sft, dpo_norm, orpo, alphapo, cal_dpo, beta_dpo, bdpo,
        dpo_shift, odpo, rpo, cdpo, squaredpo, chipo, bpo, adadpo, lsif, ukl, bce, ddro, fpa,
    )
}  # fmt: skip
