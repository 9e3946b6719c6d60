"""UKL: an unnormalized KL between chosen and rejected densities."""

import torch

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
    "Chen et al.",
    2026,
    "2604.18239",
    "as in the authors' code",
    method="UKL",
    configurations="no parameters",
)


def ukl() -> PairwiseObjective:
    """Unnormalized KL on pairs (UKL).

    ℓ = −a_w + exp B, B = a_l − r_l.

    Coefficients: d_w = 1, d_l = exp B, so d_w/d_l = exp(−B).

    Domain: exp B representable: B below 709 nats in float64, 88 in float32.

    Helps: where the chosen response must rise: d_w = 1 always, and d_l goes to zero as the rejected response falls.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, ukl
        >>> at_reference(ukl())
        'd_w = 1, d_l = 1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chen et al., "Towards Disentangled Preference Optimization Dynamics: Suppress the Loser, Preserve the Winner",
        2026, https://arxiv.org/abs/2604.18239, as in the authors' code.
    """

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return -chosen.logp + torch.exp(rejected.log_ratio)

    return PairwiseObjective("ukl", of_pair, _CITATION)
