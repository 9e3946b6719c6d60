"""BPO (balanced): only the smaller of the two rewards gets a gradient."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "BPO: Revisiting Preference Modeling in Direct Preference Optimization",
    "Sun et al.",
    2025,
    "2506.03557",
    "the BPO loss",
    method="BPO (balanced)",
    configurations="`bpo:alpha=0.3` (paper)",
    differences="at a tie autograd gives half to each side",
)


def bpo(beta: float = 0.1, alpha: float = 0.3) -> PairwiseObjective:
    """Balanced Preference Optimization (BPO).

    ℓ = −log σ( min(R_w, −α R_l) ), R_w = β (a_w − r_w), R_l = β (a_l − r_l).

    Coefficients: d_w = β σ(−z) if R_w is the smaller and 0 otherwise; d_l = α β σ(−z) if −α R_l is the smaller and 0
    otherwise, z the minimum. At a tie, as at the reference, each side gets half.

    Domain: every log-prob.

    Helps: against a chosen response that falls while its margin grows: once R_w is the smaller, the step climbs g_w
    alone.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        alpha: α > 0, how much of the rejected reward counts; 0.3 in the paper.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, bpo
        >>> at_reference(bpo(beta=0.1))
        'd_w = 0.025, d_l = 0.0075 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Sun et al., "BPO: Revisiting Preference Modeling in Direct Preference Optimization", 2025,
        https://arxiv.org/abs/2506.03557, the BPO loss.
    """
    positive("bpo", beta=beta, alpha=alpha)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return -F.logsigmoid(beta * torch.minimum(chosen.log_ratio, -alpha * rejected.log_ratio))

    return PairwiseObjective("bpo", of_pair, _CITATION, {"beta": beta, "alpha": alpha})
