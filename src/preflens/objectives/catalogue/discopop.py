"""DiscoPOP: a blend of the logistic and the exponential loss, found by a language model."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair

_CITATION = Citation(
    "Discovering Preference Optimization Algorithms with and for Large Language Models",
    "Lu et al.",
    2024,
    "2406.08414",
    "Eq. 5",
    method="DiscoPOP",
    configurations="`discopop:tau=0.05` (paper and TRL)",
    differences="none found; at the reference its coefficients are negative and the first step runs backwards",
)


def discopop(beta: float = 0.1, tau: float = 0.05) -> MarginObjective:
    """Discovered Preference Optimization (DiscoPOP).

    ℓ = −(1 − g) log σ(x) + g exp(−x), g = σ(x/τ), x = β u, u = (a_w − r_w) − (a_l − r_l), the margin form with h_w =
    h_l = β (a − r).

    Coefficients: d_w = d_l = β [ (1 − g) σ(−x) + g exp(−x) − (g (1 − g)/τ)(log σ(x) + exp(−x)) ]. At the reference (x =
    0) with β = 0.1 and τ = 0.05 this is −0.078: the first step runs backwards, lowering the chosen and raising the
    rejected response wherever DPO would do the opposite.

    Domain: every log-prob for τ ≤ 1; for larger τ the loss overflows at very negative margins.

    Helps: as a comparison; the loss is not monotone in the margin, so check the signs of its coefficients.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        tau: τ > 0, width of the blend; no unit. 0.05 is the paper's and TRL's value (`discopop_tau`).

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, discopop
        >>> print(at_reference(discopop(beta=0.1)))
        d_w = -0.0784, d_l = -0.0784 for a pair with 10 tokens and −20 nats on each side: the first step runs backwards.

    References:
        Lu et al., "Discovering Preference Optimization Algorithms with and for Large Language Models", 2024,
        https://arxiv.org/abs/2406.08414, Eq. 5.
    """
    positive("discopop", beta=beta, tau=tau)

    def m(z: PerPair) -> PerPair:
        # g exp(−z) in one exponential: g · exp(−z) would be 0 · ∞ at very negative margins
        return F.sigmoid(-z / tau) * F.logsigmoid(z) - torch.exp(F.logsigmoid(z / tau) - z)

    reward = times(beta, log_ratio)
    return MarginObjective("discopop", m, reward, reward, _CITATION, {"beta": beta, "tau": tau})
