"""BDPO: DPO against a mixture of policy and reference, which bounds the rejected side."""

from math import inf, log, log1p

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import between, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Rethinking DPO: The Role of Rejected Responses in Preference Misalignment",
    "Cho et al.",
    2025,
    "2506.12725",
    "the BDPO loss",
    method="BDPO",
    configurations="`bdpo:lam=0.5` (paper)",
    differences="none found",
)


def bdpo(beta: float = 0.1, lam: float = 0.5) -> MarginObjective:
    """Bounded DPO (BDPO).

    ℓ = −log σ( β [ A − log(λ exp B + 1 − λ) ] ), A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = log σ(z),
    h_w = β A, h_l = β log(λ exp B + 1 − λ).

    Coefficients: d_w = β σ(−z), d_l = β σ(−z) λ exp B/(λ exp B + 1 − λ), so d_w/d_l = 1 + (1 − λ) exp(−B)/λ, which
    grows as the rejected response falls.

    Domain: every log-prob.

    Helps: where DPO grows its margin by lowering the rejected response without bound: d_l goes to zero, and d_w does
    not.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        lam: λ in (0, 1], share of the policy in the mixture; 0.5 in the paper. At 1 this is DPO.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, bdpo
        >>> at_reference(bdpo(beta=0.1))
        'd_w = 0.05, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Cho et al., "Rethinking DPO: The Role of Rejected Responses in Preference Misalignment", 2025,
        https://arxiv.org/abs/2506.12725, the BDPO loss.
    """
    positive("bdpo", beta=beta)
    between("bdpo", 0.0, 1.0, include_low=False, include_high=True, lam=lam)

    def bounded(response: ResponseLogps) -> PerPair:
        ratio = response.log_ratio
        rest = torch.full_like(ratio, log1p(-lam) if lam < 1 else -inf)
        return beta * torch.logaddexp(ratio + log(lam), rest)

    return MarginObjective("bdpo", F.logsigmoid, times(beta, log_ratio), bounded, _CITATION, {"beta": beta, "lam": lam})
