"""EXO: the reverse KL between the policy's preference and smoothed labels."""

from math import log, log1p

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import between, positive
from preflens.pair_logps import PerPair

_CITATION = Citation(
    "Towards Efficient Exact Optimization of Language Model Alignment",
    "Ji et al.",
    2024,
    "2402.00856",
    "Eq. 16",
    method="EXO",
    configurations="`exo:eps=0.001` (paper)",
    differences="TRL: `exo_pair`; its default `label_smoothing` of 0 is refused there and here",
)


def exo(beta: float = 0.1, eps: float = 0.001) -> MarginObjective:
    """Efficient Exact Optimization on pairs (EXO).

    ℓ = q [log q − log(1 − ε)] + (1 − q) [log(1 − q) − log ε], q = σ(β u), u = (a_w − r_w) − (a_l − r_l). In the margin
    form −ℓ is m of z = β u, h_w = h_l = β (a − r).

    Coefficients: d_w = d_l = β q (1 − q) (log((1 − ε)/ε) − β u), negative past β u = log((1 − ε)/ε).

    Domain: every log-prob.

    Helps: where DPO overshoots: the margin has a finite target, and pairs with q near 0 get small coefficients.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        eps: ε in (0, 1), smoothing of the label; the paper recommends 0.001. TRL calls it `label_smoothing`.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, exo
        >>> at_reference(exo(beta=0.1))
        'd_w = 0.173, d_l = 0.173 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Ji et al., "Towards Efficient Exact Optimization of Language Model Alignment", 2024,
        https://arxiv.org/abs/2402.00856, Eq. 16.
    """
    positive("exo", beta=beta)
    between("exo", 0.0, 1.0, include_low=False, eps=eps)

    def m(z: PerPair) -> PerPair:
        return F.sigmoid(z) * (log1p(-eps) - F.logsigmoid(z)) + F.sigmoid(-z) * (log(eps) - F.logsigmoid(-z))

    reward = times(beta, log_ratio)
    return MarginObjective("exo", m, reward, reward, _CITATION, {"beta": beta, "eps": eps})
