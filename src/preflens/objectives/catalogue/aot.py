"""AOT, paired: a logistic loss between margins and reference margins of the same rank."""

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
    "the paired loss, number of the equation not confirmed",
    method="AOT",
    configurations="`aot:beta=0.1` (TRL)",
    differences="the sort runs over the pairs that are given: TRL's device batch, here the update batch",
)


def aot(beta: float = 0.1, eps: float = 0.0) -> BatchObjective:
    """Alignment via Optimal Transport, paired (AOT).

    ℓ = −(1 − ε) log σ(β δ_i) − ε log σ(−β δ_i), where δ_i is the margin a_w − a_l of pair i less the reference margin
    of the same rank within the update batch.

    Coefficients: d_w = d_l = β [ σ(−β δ_i) − ε ].

    Domain: every log-prob.

    Helps: where single references are noisy: a pair is compared with the quantile of the reference margins, not with
    its own.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        eps: ε in [0, 1), smoothing of the label. TRL calls it `label_smoothing`; its default is 0.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, aot
        >>> at_reference(aot(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Melnyk et al., "Distributional Preference Alignment of LLMs via Optimal Transport", 2024,
        https://arxiv.org/abs/2406.05882, the paired loss, number of the equation not confirmed.

    Note:
        The loss of rank k is assigned to the pair with rank k, so the mean over the batch is TRL's. Among equal
        margins, the order is arbitrary.
    """
    positive("aot", beta=beta)
    between("aot", 0.0, 1.0, eps=eps)

    def of_batch(logps: PairLogps) -> PerPair:
        margin = logps.chosen - logps.rejected
        x = beta * (margin - at_rank_of(margin, logps.chosen_side.reference - logps.rejected_side.reference))
        return -(1 - eps) * F.logsigmoid(x) - eps * F.logsigmoid(-x)

    return BatchObjective("aot", of_batch, _CITATION, {"beta": beta, "eps": eps})
