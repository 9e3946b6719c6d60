"""LD-DPO: a smaller weight for tokens beyond the length of the shorter response."""

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.validation import between
from preflens.objectives.modifiers.base import Modifier
from preflens.pair_logps import PairLogps, PerPair, PerToken, ResponseLogps

_CITATION = Citation(
    "Length Desensitization in Direct Preference Optimization",
    "Liu et al.",
    2024,
    "2409.06411",
    "the LD-DPO loss",
    method="LD-DPO",
    configurations="`dpo@ld:alpha=0.5`",
    differences="TRL's `ld_alpha` has no default",
)


def ld(alpha: float = 0.5) -> Modifier:
    """Length desensitization: log-probs Σ_{t ≤ m} log π(y_t) + α Σ_{t > m} log π(y_t), m = min(|y_w|, |y_l|).

    Likewise for the reference model. The coefficient of a token is that of the objective, times α past position m. The
    modified objective is of kind `token`.

    Args:
        alpha: α in [0, 1], weight of the tail; 1 changes nothing, 0 drops it. No default in TRL; 0.5 here.

    Returns:
        The modifier.

    Example:
        The rejected response has one token, so the second chosen token gets the factor α.

        >>> import torch
        >>> from preflens.objectives import dpo, modified
        >>> from preflens.pair_logps import PairLogps
        >>> rows = torch.tensor([[-1.0, -1.0], [-1.0, 0.0]])
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> logps = PairLogps.from_rows(rows, mask, ref_token_logps=rows)
        >>> d = modified(dpo(beta=0.1), ld(alpha=0.5)).coefficients(logps)
        >>> [[round(x, 3) for x in row] for row in d.per_token.chosen.tolist()]
        [[0.05, 0.025]]

    References:
        Liu et al., "Length Desensitization in Direct Preference Optimization", 2024,
        https://arxiv.org/abs/2409.06411, the LD-DPO loss.
    """
    between("ld", 0.0, 1.0, include_high=True, alpha=alpha)

    def weighted(response: ResponseLogps, values: PerToken | None, shared: Int[Tensor, " pair"]) -> PerPair:
        logps = response.at_tokens(values, "log-probs")
        tail = torch.arange(logps.shape[1], device=logps.device) >= shared[:, None]
        return (logps * torch.where(tail, alpha, 1.0).to(logps)).sum(1)

    def change(logps: PairLogps) -> PairLogps:
        w, l = logps.chosen_side, logps.rejected_side  # noqa: E741  # the paper's letters
        shared = torch.minimum(w.length, l.length)
        new = replace(
            logps, chosen=weighted(w, w.token_logps, shared), rejected=weighted(l, l.token_logps, shared),
        )  # fmt: skip
        if logps.ref_chosen is None and logps.ref_rejected is None:
            return new
        references = (weighted(side, side.ref_token_logps, shared) for side in (w, l))
        return replace(new, **dict(zip(("ref_chosen", "ref_rejected"), references, strict=True)))

    def refusal(objective: Objective) -> str:
        return "it weights tokens itself" if objective.kind == "token" else ""

    return Modifier("ld", _CITATION, {"alpha": alpha}, change=change, per_token=True, refusal=refusal)
