"""BCO: a binary classifier of each response."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import finite, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Binary Classifier Optimization for Large Language Model Alignment",
    "Jung et al.",
    2024,
    "2404.04656",
    "the BCO loss, number of the equation not confirmed",
    method="BCO",
    configurations="`bco:delta=0` (TRL 1.16)",
    differences="TRL: `bco_pair`; the paper keeps a running reward mean δ. TRL's documentation prints a DPO formula "
    "for it",
)


def bco(beta: float = 0.1, delta: float = 0.0) -> PairwiseObjective:
    """Binary Classifier Optimization on pairs (BCO).

    ℓ = −log σ(R_w − δ) − log σ(−(R_l − δ)), R_w = β (a_w − r_w), R_l = β (a_l − r_l).

    Coefficients: d_w = β σ(−(R_w − δ)), d_l = β σ(R_l − δ).

    Domain: every log-prob.

    Helps: where each response should be scored independently: the rejected coefficient goes to zero once that response
    is far below the reference.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        delta: δ, a shift of both rewards; no unit. The paper keeps a running mean of rewards; TRL 1.16 uses 0.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, bco
        >>> at_reference(bco(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Jung et al., "Binary Classifier Optimization for Large Language Model Alignment", 2024,
        https://arxiv.org/abs/2404.04656, the BCO loss, number of the equation not confirmed.

    Note:
        This is TRL's `bco_pair` at δ = 0. TRL's documentation prints another formula; its code computes this one.
    """
    positive("bco", beta=beta)
    finite("bco", delta=delta)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return -F.logsigmoid(beta * chosen.log_ratio - delta) - F.logsigmoid(delta - beta * rejected.log_ratio)

    return PairwiseObjective("bco", of_pair, _CITATION, {"beta": beta, "delta": delta})
