"""χPO: DPO with the link of the χ²-divergence."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Correcting the Mythos of KL-Regularization: Direct Alignment without Overoptimization via Chi-Squared Preference "
    "Optimization",
    "Huang et al.",
    2024,
    "2407.13399",
    "the χPO loss",
    unverified="Written from general knowledge of the paper; the equation was not re-read; the clipping of the margin "
    "that the paper analyses is left out",
    method="χPO",
    configurations="`chipo:beta=0.1`",
    differences="the paper analyses a clipped margin",
)


def chipo(beta: float = 0.1) -> MarginObjective:
    """χ²-Preference Optimization (χPO).

    ℓ = −log σ( β [φ(A) − φ(B)] ), φ(A) = exp A + A, A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = log σ(z),
    h_w = h_l = β φ.

    Coefficients: d_w = β σ(−z) (exp A + 1), d_l = β σ(−z) (exp B + 1). Their ratio is above 1 as soon as A > B.

    Domain: exp A and exp B representable: log-ratios below about 700 nats in float64, 80 in float32.

    Helps: against overoptimization; d_w/d_l grows with the chosen log-ratio, which loosens the condition of the chosen
    response.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, chipo
        >>> at_reference(chipo(beta=0.1))
        'd_w = 0.1, d_l = 0.1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Huang et al., "Correcting the Mythos of KL-Regularization: Direct Alignment without Overoptimization via
        Chi-Squared Preference Optimization", 2024, https://arxiv.org/abs/2407.13399, the χPO loss.

    Note:
        Not confirmed: written from general knowledge of the paper; the equation was not re-read; the clipping of the
        margin that the paper analyses is left out.
    """
    positive("chipo", beta=beta)

    def reward(response: ResponseLogps) -> PerPair:
        ratio = response.log_ratio
        return beta * (torch.exp(ratio) + ratio)

    return MarginObjective("chipo", F.logsigmoid, reward, reward, _CITATION, {"beta": beta})
