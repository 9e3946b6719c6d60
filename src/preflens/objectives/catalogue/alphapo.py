"""AlphaPO: SimPO with a curved reward."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.validation import finite, non_negative, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "AlphaPO: Reward Shape Matters for LLM Alignment",
    "Gupta et al.",
    2025,
    "2501.03884",
    "the AlphaPO loss",
    method="AlphaPO",
    configurations="`alphapo:alpha=0.25,beta=2.5,gamma=0.1` (authors)",
    differences="in TRL's experimental CPO trainer",
)


def alphapo(beta: float = 2.5, gamma: float = 0.1, alpha: float = 0.25) -> MarginObjective:
    """AlphaPO.

    ℓ = −log σ( β [R(q_w) − R(q_l)] − γ ), q = a/|y|, R(q) = (1 − exp(−α q))/α, the margin form with m(z) = log σ(z −
    γ), h_w = h_l = β R.

    Coefficients: d_w = (β/|y_w|) exp(−α q_w) σ(γ − z), d_l = (β/|y_l|) exp(−α q_l) σ(γ − z). d_w/d_l falls as the
    chosen response gets likelier.

    Domain: exp(−α q) representable: q above −709/α nats per token in float64.

    Helps: where SimPO lowers the chosen response too far: for α > 0 unlikely responses get larger coefficients.

    Args:
        beta: β > 0; 2.5 in the authors' configuration.
        gamma: γ ≥ 0, target margin; 0.1 in the authors' configuration.
        alpha: α, curvature of the reward; 0.25 in the authors' configuration. At 0 this is SimPO.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, alphapo
        >>> at_reference(alphapo(beta=2.5))
        'd_w = 0.216, d_l = 0.216 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Gupta et al., "AlphaPO: Reward Shape Matters for LLM Alignment", 2025, https://arxiv.org/abs/2501.03884, the
        AlphaPO loss.
    """
    positive("alphapo", beta=beta)
    non_negative("alphapo", gamma=gamma)
    finite("alphapo", alpha=alpha)

    def reward(response: ResponseLogps) -> PerPair:
        q = response.logp_per_token
        return beta * (q if alpha == 0 else -torch.expm1(-alpha * q) / alpha)

    def m(z: PerPair) -> PerPair:
        return F.logsigmoid(z - gamma)

    return MarginObjective("alphapo", m, reward, reward, _CITATION, {"beta": beta, "gamma": gamma, "alpha": alpha})
