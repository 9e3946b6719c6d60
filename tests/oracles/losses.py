"""The losses written out as in their papers, without the common form."""

import torch
import torch.nn.functional as F


def dpo(x, beta=0.1):
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected)))


def ipo(x, tau=0.1):
    return ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - 1 / (2 * tau)) ** 2


def simpo(x, beta=2.0, gamma=1.0):
    return -F.logsigmoid(beta * x.chosen / x.chosen_tokens - beta * x.rejected / x.rejected_tokens - gamma)


def slic(x, delta=1.0, lam=0.1):
    return torch.clamp(delta - x.chosen + x.rejected, min=0) - lam * x.chosen


def cpo(x, beta=0.1, lam=1.0):
    return -F.logsigmoid(beta * x.chosen - beta * x.rejected) - lam * x.chosen


def dpop(x, beta=0.1, lam=50.0):
    penalty = torch.clamp(x.ref_chosen - x.chosen, min=0)
    return -F.logsigmoid(beta * ((x.chosen - x.ref_chosen) - (x.rejected - x.ref_rejected) - lam * penalty))


def ratios(x):
    return x.chosen - x.ref_chosen, x.rejected - x.ref_rejected


def means(x):
    return x.chosen / x.chosen_tokens, x.rejected / x.rejected_tokens


def rdpo(x, beta=0.1, alpha=0.2):
    a, b = ratios(x)
    longer = alpha * (x.chosen_tokens - x.rejected_tokens).double()
    return torch.log(1 + torch.exp(-beta * (a - b) - longer))


def rrhf(x, lam=1.0):
    q_w, q_l = means(x)
    return torch.maximum(q_l - q_w, torch.zeros_like(q_w)) - lam * x.chosen


def orpo(x, lam=0.1):
    p_w, p_l = (q.exp() for q in means(x))
    odds_ratio = (p_w / (1 - p_w)) / (p_l / (1 - p_l))
    return -p_w.log() + lam * torch.log(1 + 1 / odds_ratio)


def alphapo(x, beta=2.5, gamma=0.1, alpha=0.25):
    r_w, r_l = ((1 - q.exp() ** -alpha) / alpha for q in means(x))
    return torch.log(1 + torch.exp(gamma - beta * (r_w - r_l)))


def cal_dpo(x, beta=0.1):
    a, b = ratios(x)
    return -F.logsigmoid(a - b) + (a - 0.5 / beta) ** 2 + (b + 0.5 / beta) ** 2


def bdpo(x, beta=0.1, lam=0.5):
    # the mixture as probabilities of the response, not of the ratio
    shift = torch.maximum(x.rejected, x.ref_rejected)
    mixture = lam * torch.exp(x.rejected - shift) + (1 - lam) * torch.exp(x.ref_rejected - shift)
    return -F.logsigmoid(beta * (ratios(x)[0] - (mixture.log() + shift - x.ref_rejected)))


def dpo_shift(x, beta=0.1, factor=0.95):
    a, b = ratios(x)
    return -F.logsigmoid(beta * a - factor * beta * b)


def odpo(x, beta=0.1, offset=1.0):
    a, b = ratios(x)
    return torch.log(1 + torch.exp(offset - beta * (a - b)))


def rpo(x, beta=0.1, lam=1.0):
    return dpo(x, beta) - lam * means(x)[0]


def cdpo(x, beta=0.1, eps=0.1):
    a, b = ratios(x)
    return (1 - eps) * dpo(x, beta) - eps * F.logsigmoid(beta * (b - a))


def squaredpo(x, beta=0.1):
    t_w, t_l = (r.exp() for r in ratios(x))  # f(t) = (log t)²/2 has f'(t) = log t / t
    return -F.logsigmoid(beta * (t_w.log() / t_w - t_l.log() / t_l))


def chipo(x, beta=0.1):
    t_w, t_l = (r.exp() for r in ratios(x))
    return -F.logsigmoid(beta * (t_w + t_w.log()) - beta * (t_l + t_l.log()))


def bpo(x, beta=0.1, alpha=0.3):
    a, b = ratios(x)
    return torch.maximum(-F.logsigmoid(beta * a), -F.logsigmoid(-alpha * beta * b))


def lsif(x):
    a, b = ratios(x)
    return 0.5 * b.exp() ** 2 - a.exp()


def ukl(x):
    return ratios(x)[1].exp() - x.chosen


def bce(x):
    a, b = ratios(x)
    return torch.log(1 + torch.exp(-a)) + torch.log(1 + torch.exp(b))


def ddro(x):
    a, b = ratios(x)
    return -a - torch.log(2 - b.exp())


def slime(x, lam_w=0.1, lam_l=0.1, lam_d=1.0, delta=1.25, hard=1.5, soft=1.0, k=2.5, p=2.5):
    losses = []
    for i, n in enumerate(x.rejected_tokens.tolist()):
        held = F.softplus(-x.rejected_token_logps[i, :n] - delta).pow(p).mean()
        gap = x.chosen[i] - x.rejected[i]
        apart = torch.clamp(hard - gap, min=0) * torch.sigmoid(-k * (gap - soft))
        losses.append(-lam_w * x.chosen[i] + lam_l * held + lam_d * apart)
    return torch.stack(losses)


LOSSES = {
    f.__name__: f
    for f in (
        dpo, ipo, simpo, slic, cpo, dpop, rdpo, rrhf, orpo, alphapo, cal_dpo, bdpo, dpo_shift, odpo, rpo, cdpo,
        squaredpo, chipo, bpo, lsif, ukl, bce, ddro, slime,
    )
}  # fmt: skip
