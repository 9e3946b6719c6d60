"""DDRO: direct density ratio optimization."""

import torch

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Direct Density Ratio Optimization: A Statistically Consistent Approach to Aligning Large Language Models",
    "Higuchi and Suzuki",
    2025,
    "2505.07558",
    "in the form of the code of Chen et al., arXiv 2604.18239",
    unverified="The form is that of another paper's code; the original was not re-read",
    method="DDRO",
    configurations="no parameters",
)


def ddro() -> PairwiseObjective:
    """Direct Density Ratio Optimization (DDRO) on pairs.

    ℓ = −A − log(2 − exp B), A = a_w − r_w, B = a_l − r_l.

    Coefficients: d_w = 1, d_l = exp B/(2 − exp B).

    Domain: B below log 2 = 0.693 nats: the rejected response at most twice as likely as under the reference.

    Helps: where the chosen response must rise: d_w = 1 always. d_l grows without bound as B nears log 2.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, ddro
        >>> at_reference(ddro())
        'd_w = 1, d_l = 1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Higuchi and Suzuki, "Direct Density Ratio Optimization: A Statistically Consistent Approach to Aligning Large
        Language Models", 2025, https://arxiv.org/abs/2505.07558, in the form of the code of Chen et al., arXiv
        2604.18239.

    Note:
        Not confirmed: the form is that of another paper's code; the original was not re-read.
    """

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        # 2 − exp B as 1 + (1 − exp B): exact for B near 0
        return -chosen.log_ratio - torch.log1p(-torch.expm1(rejected.log_ratio))

    return PairwiseObjective("ddro", of_pair, _CITATION)
