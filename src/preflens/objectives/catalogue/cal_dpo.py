"""Cal-DPO: DPO plus a squared distance of each reward to its target."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Cal-DPO: Calibrated Direct Preference Optimization for Language Model Alignment",
    "Xiao et al.",
    2024,
    "2412.14516",
    "the Cal-DPO loss",
    unverified="Written from general knowledge of the paper; the equation was not re-read",
    method="Cal-DPO",
    configurations="`cal_dpo:beta=0.1`",
)


def cal_dpo(beta: float = 0.1) -> PairwiseObjective:
    """Calibrated DPO (Cal-DPO).

    ℓ = −log σ(A − B) + (A − 1/(2β))² + (B + 1/(2β))², A = a_w − r_w, B = a_l − r_l.

    Coefficients: d_w = σ(B − A) + 2 (1/(2β) − A), d_l = σ(B − A) + 2 (1/(2β) + B).

    Domain: every log-prob.

    Helps: where DPO widens the margin by lowering both: the chosen log-ratio is pulled to +1/(2β).

    Args:
        beta: β > 0; the targets are ±1/(2β) nats. The default is TRL's for DPO, not the paper's.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, cal_dpo
        >>> at_reference(cal_dpo(beta=0.1))
        'd_w = 10.5, d_l = 10.5 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Xiao et al., "Cal-DPO: Calibrated Direct Preference Optimization for Language Model Alignment", 2024,
        https://arxiv.org/abs/2412.14516, the Cal-DPO loss.

    Note:
        A regularizer on the rejected log-prob too is outside the margin form of Yuan et al., so this is a pairwise
        objective. Not confirmed: written from general knowledge of the paper; the equation was not re-read.
    """
    positive("cal_dpo", beta=beta)
    target = 0.5 / beta

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        a, b = chosen.log_ratio, rejected.log_ratio
        return -F.logsigmoid(a - b) + (a - target) ** 2 + (b + target) ** 2

    return PairwiseObjective("cal_dpo", of_pair, _CITATION, {"beta": beta})
