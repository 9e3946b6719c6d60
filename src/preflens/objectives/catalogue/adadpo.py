"""AdaDPO: DPO with the chosen coefficient scaled by the ratio of probabilities."""

from math import log

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "AdaDPO: Self-Adaptive Direct Preference Optimization with Balanced Gradient Updates",
    "Chen et al.",
    2026,
    "2605.28440",
    "the AdaDPO loss",
    unverified="Reconstructed from a summary of the paper",
    method="AdaDPO",
    configurations="`adadpo:cap=2`",
)


def adadpo(beta: float = 0.1, cap: float = 2.0) -> PairwiseObjective:
    """Self-adaptive DPO (AdaDPO).

    ℓ = −log σ( β [ A' − B ] ) with A' = A in value and a gradient that is ρ times that of A; A = a_w − r_w, B = a_l −
    r_l, ρ = min(C, P_w/P_l) detached, P = exp(a/|y|).

    Coefficients: d_w = ρ β σ(−β u), d_l = β σ(−β u), u = A − B, so d_w/d_l = ρ.

    Domain: every log-prob.

    Helps: where rejected responses are much likelier or unlikelier than chosen ones. Probabilities are balanced, not
    log-probs: ρ < 1 while the chosen response is the less likely one, which tightens its condition.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        cap: C > 0, upper bound of the ratio; 2 in a summary of the paper.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, adadpo
        >>> at_reference(adadpo(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chen et al., "AdaDPO: Self-Adaptive Direct Preference Optimization with Balanced Gradient Updates", 2026,
        https://arxiv.org/abs/2605.28440, the AdaDPO loss.

    Note:
        Not confirmed: reconstructed from a summary of the paper.
    """
    positive("adadpo", beta=beta, cap=cap)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        # the minimum of logarithms: exp of the difference alone could overflow
        rho = (chosen.logp_per_token - rejected.logp_per_token).detach().clamp(max=log(cap)).exp()
        fixed = chosen.log_ratio.detach()
        return -F.logsigmoid(beta * (fixed + rho * (chosen.log_ratio - fixed) - rejected.log_ratio))

    return PairwiseObjective("adadpo", of_pair, _CITATION, {"beta": beta, "cap": cap})
