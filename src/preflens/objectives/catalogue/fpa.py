"""FPA: DPO's coefficients taken from an extrapolated future policy."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Future Policy Aware Preference Learning for Mathematical Reasoning",
    "Oh et al.",
    2025,
    "2509.19893",
    "the FPA loss",
    method="FPA",
    configurations="`fpa:beta=0.1`, with the future policy at λ from 0.5 to 2 (paper)",
    differences="the caller computes log-probs under the future policy; the value of the loss means nothing",
)


def fpa(beta: float = 0.1) -> PairwiseObjective:
    """Future Policy Aware preference learning (FPA) on DPO.

    ℓ = −C (a_w − a_l), C = β σ(−β [(â_w − r_w) − (â_l − r_l)]) detached, â the log-prob under the extrapolated policy
    π̂ = softmax((1 + λ) h − λ h_ref) of the logits h of policy and reference.

    Coefficients: d_w = d_l = C: DPO's coefficient, as it will be if training goes on in the same direction.

    Domain: every log-prob.

    Helps: where correct and wrong answers share most of their tokens: the coefficients shrink before the chosen
    response falls.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, fpa
        >>> at_reference(fpa(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Oh et al., "Future Policy Aware Preference Learning for Mathematical Reasoning", 2025,
        https://arxiv.org/abs/2509.19893, the FPA loss.

    Note:
        λ (0.5 to 2 in the paper) is applied by the caller: π̂ needs the logits of both models, so its log-probs are an
        input, `PairLogps.future_chosen` and `.future_rejected`. Only the gradient of the loss has a meaning, not its
        value.
    """
    positive("fpa", beta=beta)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        weight = beta * F.sigmoid(beta * (rejected.future_log_ratio - chosen.future_log_ratio)).detach()
        return -weight * (chosen.logp - rejected.logp)

    return PairwiseObjective("fpa", of_pair, _CITATION, {"beta": beta})
