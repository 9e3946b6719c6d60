"""Closed forms of coefficients that differ from token to token, token by token in plain loops.

Each returns two lists of lists: d_{w,t} and d_{l,t} of the tokens of each response, padding left out.
"""

from math import exp, log1p


def s(z):
    return 1 / (1 + exp(-z))


def tokens(x, i):
    n_w, n_l = int(x.chosen_tokens[i]), int(x.rejected_tokens[i])
    return x.chosen_token_logps[i, :n_w].tolist(), x.rejected_token_logps[i, :n_l].tolist()


def slime(x, lam_w=0.1, lam_l=0.1, lam_d=1.0, delta=1.25, hard=1.5, soft=1.0, k=2.5, p=2.5):
    chosen, rejected = [], []
    for i in range(len(x.chosen_tokens)):
        w, l = tokens(x, i)  # noqa: E741
        gap = sum(w) - sum(l)
        sig = s(-k * (gap - soft)) if gap < hard else 0.0
        q = sig + (hard - gap) * k * sig * (1 - sig) if gap < hard else 0.0
        chosen.append([lam_w + lam_d * q] * len(w))
        rejected.append([lam_d * q - lam_l * p / len(l) * log1p(exp(-t - delta)) ** (p - 1) * s(-t - delta) for t in l])
    return chosen, rejected


def dpo_ld(x, beta=0.1, alpha=0.5):
    chosen, rejected = [], []
    for i in range(len(x.chosen_tokens)):
        (w, l), shared = tokens(x, i), int(min(x.chosen_tokens[i], x.rejected_tokens[i]))  # noqa: E741
        w_ref, l_ref = x.ref_chosen_token_logps[i].tolist(), x.ref_rejected_token_logps[i].tolist()
        weigh = [1.0] * shared + [alpha] * (len(w) + len(l))
        u = sum(c * (a - r) for c, a, r in zip(weigh, w, w_ref, strict=False))
        u -= sum(c * (a - r) for c, a, r in zip(weigh, l, l_ref, strict=False))
        d = beta * s(-beta * u)
        chosen.append([d * c for c in weigh[: len(w)]])
        rejected.append([d * c for c in weigh[: len(l)]])
    return chosen, rejected


TOKEN_CLOSED_FORMS = {"slime": slime, "dpo@ld": dpo_ld}
