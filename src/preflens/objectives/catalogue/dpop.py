"""DPOP (DPO-Positive): DPO with a penalty where the chosen response falls below the reference model."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import non_negative, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive",
    "Pal et al.",
    2024,
    "2402.13228",
    "the DPOP loss",
    method="DPO-Positive",
    configurations="`dpop:lam=50` (authors; 5 and 500 too)",
    differences="not in TRL",
)


def dpop(beta: float = 0.1, lam: float = 50.0) -> MarginObjective:
    """DPO-Positive.

    ℓ = −log σ( β [ (a_w − r_w) − (a_l − r_l) − λ max(0, r_w − a_w) ] ). In the margin form: m(z) = log σ(z),
    h_w = β (a − r) − β λ max(0, r − a), h_l = β (a − r), no regularizer. So d_w/d_l = 1 + λ where the chosen response
    is below the reference model, and 1 elsewhere, the reference model itself included.

    Coefficients: d_w = β σ(−z) (1 + λ 1[a_w < r_w]), d_l = β σ(−z), z = β [ (a_w − r_w) − (a_l − r_l) − λ max(0, r_w −
    a_w) ].

    Domain: every log-prob.

    Helps: where near-identical responses make the chosen one fall: below the reference it is climbed 1 + λ times as
    strongly.

    Args:
        beta: β > 0; no unit.
        lam: λ ≥ 0, weight of the penalty; no unit. 50 is customary; 5 and 500 were tried too.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, dpop
        >>> at_reference(dpop(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Pal et al., "Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive", 2024,
        https://arxiv.org/abs/2402.13228, the DPOP loss (number of the equation not confirmed).
    """
    positive("dpop", beta=beta)
    non_negative("dpop", lam=lam)

    def chosen_reward(response: ResponseLogps) -> PerPair:
        return beta * (response.log_ratio - lam * F.relu(-response.log_ratio))

    parameters = {"beta": beta, "lam": lam}
    return MarginObjective("dpop", F.logsigmoid, chosen_reward, times(beta, log_ratio), _CITATION, parameters)
