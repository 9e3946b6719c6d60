"""BCE: a logistic loss of each log-ratio."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
    "Chen et al.",
    2026,
    "2604.18239",
    "as in the authors' code",
    method="BCE",
    configurations="no parameters",
)


def bce() -> PairwiseObjective:
    """Binary cross-entropy on log-ratios (BCE).

    ℓ = −log σ(A) − log σ(−B), A = a_w − r_w, B = a_l − r_l.

    Coefficients: d_w = σ(−A), d_l = σ(B).

    Domain: every log-prob.

    Helps: as `bco` at β = 1: the coefficient of each response goes to zero independently.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, bce
        >>> at_reference(bce())
        'd_w = 0.5, d_l = 0.5 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chen et al., "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
        2026, https://arxiv.org/abs/2604.18239, as in the authors' code.
    """

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return -F.logsigmoid(chosen.log_ratio) - F.logsigmoid(-rejected.log_ratio)

    return PairwiseObjective("bce", of_pair, _CITATION)
