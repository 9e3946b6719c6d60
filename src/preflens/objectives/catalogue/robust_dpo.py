"""Robust DPO: DPO unbiased under labels that are flipped at a known rate."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import between, positive
from preflens.pair_logps import PerPair

_CITATION = Citation(
    "Provably Robust DPO: Aligning Language Models with Noisy Feedback",
    "Chowdhury et al.",
    2024,
    "2403.00409",
    "the robust loss, number of the equation not confirmed",
    method="Robust DPO",
    configurations="`robust_dpo:eps=0.1` (TRL's documentation)",
    differences="TRL: `robust`; it only warns for ε ≥ 0.5, here that is an error",
)


def robust_dpo(beta: float = 0.1, eps: float = 0.1) -> MarginObjective:
    """Robust DPO.

    ℓ = [ −(1 − ε) log σ(x) + ε log σ(−x) ] / (1 − 2ε), x = β u, u = (a_w − r_w) − (a_l − r_l), the margin form with h_w
    = h_l = β (a − r).

    Coefficients: d_w = d_l = β [ (1 − ε) σ(−x) + ε σ(x) ] / (1 − 2ε), which never goes below β ε/(1 − 2ε).

    Domain: every log-prob.

    Helps: where a share ε of the labels is wrong. Separated pairs keep a positive coefficient, so entanglement does not
    end.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        eps: ε in [0, 0.5), the share of flipped labels. 0.1 is the typical value in TRL's documentation; TRL calls it
            `label_smoothing`.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, robust_dpo
        >>> at_reference(robust_dpo(beta=0.1))
        'd_w = 0.0625, d_l = 0.0625 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chowdhury et al., "Provably Robust DPO: Aligning Language Models with Noisy Feedback", 2024,
        https://arxiv.org/abs/2403.00409, the robust loss, number of the equation not confirmed.
    """
    positive("robust_dpo", beta=beta)
    between("robust_dpo", 0.0, 0.5, eps=eps)

    def m(z: PerPair) -> PerPair:
        return ((1 - eps) * F.logsigmoid(z) - eps * F.logsigmoid(-z)) / (1 - 2 * eps)

    reward = times(beta, log_ratio)
    return MarginObjective("robust_dpo", m, reward, reward, _CITATION, {"beta": beta, "eps": eps})
