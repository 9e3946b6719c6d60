"""LSIF: least squares on density ratios."""

import torch

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
    "Chen et al.",
    2026,
    "2604.18239",
    "as in the authors' code; least-squares importance fitting is by Kanamori et al., 2009",
    method="LSIF",
    configurations="no parameters",
)


def lsif() -> PairwiseObjective:
    """Least-squares importance fitting on pairs (LSIF).

    ℓ = −exp A + ½ exp(2 B), A = a_w − r_w, B = a_l − r_l.

    Coefficients: d_w = exp A, d_l = exp(2 B), so d_w/d_l = exp(A − 2 B).

    Domain: exp A and exp(2 B) representable: A below 709 and B below 354 nats in float64, 88 and 44 in float32.

    Helps: as a comparison: d_w/d_l grows as the rejected response falls, which keeps the chosen one up.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, lsif
        >>> at_reference(lsif())
        'd_w = 1, d_l = 1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chen et al., "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
        2026, https://arxiv.org/abs/2604.18239, as in the authors' code; least-squares importance fitting is by Kanamori
        et al., 2009.
    """

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return -torch.exp(chosen.log_ratio) + 0.5 * torch.exp(2 * rejected.log_ratio)

    return PairwiseObjective("lsif", of_pair, _CITATION)
