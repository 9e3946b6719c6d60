"""APO-zero: a sigmoid loss of each log-ratio, chosen up and rejected down."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Anchored Preference Optimization and Contrastive Revisions: Addressing Underspecification in Alignment",
    "D'Oosterlinck et al.",
    2024,
    "2408.06266",
    "Eq. 7",
    method="APO-zero",
    configurations="`apo_zero:beta=0.1` (TRL)",
    differences="none found",
)


def apo_zero(beta: float = 0.1) -> PairwiseObjective:
    """Anchored Preference Optimization, zero (APO-zero).

    ℓ = 1 − σ(β A) + σ(β B), A = a_w − r_w, B = a_l − r_l.

    Coefficients: d_w = β σ(βA) σ(−βA), d_l = β σ(βB) σ(−βB).

    Domain: every log-prob.

    Helps: where the chosen responses are better than what the model generates.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, apo_zero
        >>> at_reference(apo_zero(beta=0.1))
        'd_w = 0.025, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions: Addressing Underspecification
        in Alignment", 2024, https://arxiv.org/abs/2408.06266, Eq. 7.
    """
    positive("apo_zero", beta=beta)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return F.sigmoid(-beta * chosen.log_ratio) + F.sigmoid(beta * rejected.log_ratio)

    return PairwiseObjective("apo_zero", of_pair, _CITATION, {"beta": beta})
