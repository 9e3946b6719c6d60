"""AOT, unpaired: a logistic loss between chosen and rejected log-ratios of the same rank."""

import torch.nn.functional as F

from preflens.objectives.kinds import BatchObjective, Citation
from preflens.objectives.kinds.batch import at_rank_of
from preflens.objectives.kinds.validation import between, positive
from preflens.pair_logps import PairLogps, PerPair

_CITATION = Citation(
    "Distributional Preference Alignment of LLMs via Optimal Transport",
    "Melnyk et al.",
    2024,
    "2406.05882",
    "the unpaired loss, number of the equation not confirmed",
    method="AOT, unpaired",
    configurations="`aot_unpaired:beta=0.1` (TRL)",
    differences="the sort runs over the pairs that are given: TRL's device batch, here the update batch",
)


def aot_unpaired(beta: float = 0.1, eps: float = 0.0) -> BatchObjective:
    """Alignment via Optimal Transport, unpaired (AOT).

    ℓ = −(1 − ε) log σ(β δ_i) − ε log σ(−β δ_i), where δ_i is the log-ratio A_i = a_w − r_w of pair i less the log-ratio
    B = a_l − r_l of the same rank within the update batch.

    Coefficients: d_w = β [ σ(−β δ) − ε ] with δ at the rank of the pair's A, d_l likewise with δ at the rank of its B:
    the two differ.

    Domain: every log-prob.

    Helps: where chosen and rejected responses do not come in pairs of one prompt.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        eps: ε in [0, 1), smoothing of the label. TRL calls it `label_smoothing`; its default is 0.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, aot_unpaired
        >>> at_reference(aot_unpaired(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Melnyk et al., "Distributional Preference Alignment of LLMs via Optimal Transport", 2024,
        https://arxiv.org/abs/2406.05882, the unpaired loss, number of the equation not confirmed.

    Note:
        The loss of rank k is assigned to the pair whose chosen response has rank k, so the mean over the batch is
        TRL's. Among equal values, the order is arbitrary.
    """
    positive("aot_unpaired", beta=beta)
    between("aot_unpaired", 0.0, 1.0, eps=eps)

    def of_batch(logps: PairLogps) -> PerPair:
        chosen, rejected = logps.chosen_side.log_ratio, logps.rejected_side.log_ratio
        x = beta * (chosen - at_rank_of(chosen, rejected))
        return -(1 - eps) * F.logsigmoid(x) - eps * F.logsigmoid(-x)

    return BatchObjective("aot_unpaired", of_batch, _CITATION, {"beta": beta, "eps": eps})
