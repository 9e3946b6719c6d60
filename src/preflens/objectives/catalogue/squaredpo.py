"""SquaredPO: f-DPO with a divergence that resists displacement."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Displacement-Resistant Extensions of DPO with Nonconvex f-Divergences",
    "Pipano et al.",
    2026,
    "2602.06788",
    "the SquaredPO loss",
    method="SquaredPO",
    configurations="`squaredpo:beta=0.1`",
    differences="no authors' code found",
)


def squaredpo(beta: float = 0.1) -> MarginObjective:
    """SquaredPO.

    ℓ = −log σ( β [φ(A) − φ(B)] ), φ(A) = A exp(−A), A = a_w − r_w, B = a_l − r_l: f-DPO with f(t) = (log t)²/2. The
    margin form with m(z) = log σ(z), h_w = h_l = β φ.

    Coefficients: d_w = β σ(−z) (1 − A) exp(−A), d_l = β σ(−z) (1 − B) exp(−B). d_w is negative past A = 1.

    Domain: exp(−A) and exp(−B) representable: log-ratios above about −700 nats in float64, −80 in float32.

    Helps: against a falling chosen response: below the reference d_w grows exponentially. It keeps A near 1.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, squaredpo
        >>> at_reference(squaredpo(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Pipano et al., "Displacement-Resistant Extensions of DPO with Nonconvex f-Divergences", 2026,
        https://arxiv.org/abs/2602.06788, the SquaredPO loss.
    """
    positive("squaredpo", beta=beta)

    def reward(response: ResponseLogps) -> PerPair:
        ratio = response.log_ratio
        return beta * ratio * torch.exp(-ratio)

    return MarginObjective("squaredpo", F.logsigmoid, reward, reward, _CITATION, {"beta": beta})
