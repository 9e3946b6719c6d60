"""Truth for `dpo@ld`: coefficients of tokens."""

from tests.oracles.formulas import logistic, tokens


def token_coefficients(x, beta=0.1, alpha=0.5):
    chosen, rejected = [], []
    for i in range(len(x.chosen_tokens)):
        (w, l), shared = tokens(x, i), int(min(x.chosen_tokens[i], x.rejected_tokens[i]))  # noqa: E741
        w_ref, l_ref = x.ref_chosen_token_logps[i].tolist(), x.ref_rejected_token_logps[i].tolist()
        weigh = [1.0] * shared + [alpha] * (len(w) + len(l))
        u = sum(c * (a - r) for c, a, r in zip(weigh, w, w_ref, strict=False))
        u -= sum(c * (a - r) for c, a, r in zip(weigh, l, l_ref, strict=False))
        d = beta * logistic(-beta * u)
        chosen.append([d * c for c in weigh[: len(w)]])
        rejected.append([d * c for c in weigh[: len(l)]])
    return chosen, rejected
