"""f-DPO: divergences other than the reverse KL between policy and reference model."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.validation import finite
from preflens.objectives.modifiers.base import Modifier
from preflens.pair_logps import PairLogps, PerPair

_CITATION = Citation(
    "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergence Constraints",
    "Wang et al.",
    2023,
    "2309.16240",
    "Theorem 1 and Table 1, numbers not confirmed",
    method="f-DPO",
    configurations="`dpo:beta=0.1@forward_kl`, `dpo@alpha_divergence:alpha=0.5` (TRL)",
    differences="TRL clamps the exponent of the α-divergence at 80; here an overflow is an error",
)

# The losses for which TRL allows a divergence, by the names used here, and the summed IPO. Each score contains a
# normalizer of the prompt, which cancels in a difference of scores only.
_DIFFERENCES = ("dpo", "dpo_norm", "dpo_hinge", "ipo", "ipo_per_token", "exo", "robust_dpo", "discopop")


def forward_kl() -> Modifier:
    """The forward KL: scores φ(A) = 1 − exp(−A) in place of log-ratios A.

    Both coefficients are multiplied by φ' = exp(−A) of their own response, so the coefficient of a response below the
    reference grows exponentially: d_w/d_l = exp(B − A).

    Returns:
        The modifier.

    Example:
        >>> from preflens.objectives import at_reference, dpo, modified
        >>> at_reference(modified(dpo(beta=0.1), forward_kl()))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Wang et al., "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergence
        Constraints", 2023, https://arxiv.org/abs/2309.16240.
    """
    return _divergence("forward_kl", lambda ratio: -torch.expm1(-ratio))


def js_divergence() -> Modifier:
    """The Jensen-Shannon divergence: scores φ(A) = log 2 + log σ(A) in place of log-ratios A.

    Both coefficients are multiplied by φ' = σ(−A) of their own response: the coefficient of a response far above the
    reference goes to zero.

    Returns:
        The modifier.

    Example:
        >>> from preflens.objectives import at_reference, dpo, modified
        >>> at_reference(modified(dpo(beta=0.1), js_divergence()))
        'd_w = 0.025, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Wang et al., "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergence
        Constraints", 2023, https://arxiv.org/abs/2309.16240.
    """
    log_2 = torch.tensor(2.0, dtype=torch.float64).log().item()
    return _divergence("js_divergence", lambda ratio: log_2 + F.logsigmoid(ratio))


def alpha_divergence(alpha: float = 0.5) -> Modifier:
    """The α-divergence: scores φ(A) = (exp((α − 1) A) − 1)/(α − 1) in place of log-ratios A.

    Both coefficients are multiplied by φ' = exp((α − 1) A) of their own response. At α = 1 this is the reverse KL.

    Args:
        alpha: α; 0.5 is the default of TRL (`f_alpha_divergence_coef`).

    Returns:
        The modifier.

    Example:
        >>> from preflens.objectives import at_reference, dpo, modified
        >>> at_reference(modified(dpo(beta=0.1), alpha_divergence(alpha=0.5)))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Wang et al., "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse Divergence
        Constraints", 2023, https://arxiv.org/abs/2309.16240.

    Note:
        TRL clamps the exponent at 80 in float32; here a score that is not representable is an error.
    """
    finite("alpha_divergence", alpha=alpha)

    def score(ratio: PerPair) -> PerPair:
        # TRL's width of the limit α → 1
        return ratio if abs(alpha - 1) < 1e-6 else torch.expm1((alpha - 1) * ratio) / (alpha - 1)

    return _divergence("alpha_divergence", score, alpha=alpha)


def _divergence(name: str, score: Callable[[PerPair], PerPair], **parameters: float) -> Modifier:
    def change(logps: PairLogps) -> PairLogps:
        chosen, rejected = score(logps.chosen_side.log_ratio), score(logps.rejected_side.log_ratio)
        zero = torch.zeros_like(chosen)  # a reference of zero makes the log-ratio the score
        return replace(logps, chosen=chosen, rejected=rejected, ref_chosen=zero, ref_rejected=zero)

    def refusal(objective: Objective) -> str:
        if objective.name in _DIFFERENCES:
            return ""
        return f"it is defined for losses of a difference of rewards only ({', '.join(_DIFFERENCES)})"

    return Modifier(name, _CITATION, parameters, change=change, refusal=refusal)
