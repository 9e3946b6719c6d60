"""APO-down: both responses down, the rejected one more."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Anchored Preference Optimization and Contrastive Revisions: Addressing Underspecification in Alignment",
    "D'Oosterlinck et al.",
    2024,
    "2408.06266",
    "Eq. 8",
    method="APO-down",
    configurations="`apo_down:beta=0.1` (TRL)",
    differences="none found",
)


def apo_down(beta: float = 0.1) -> MarginObjective:
    """Anchored Preference Optimization, down (APO-down).

    ℓ = σ(β A) + 1 − σ(β (A − B)), A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = σ(z) − 1, h_w = h_l = β (a
    − r), Λ(a) = −σ(β (a − r)).

    Coefficients: d_w = β [ σ'(x) − σ'(βA) ], d_l = β σ'(x), x = β (A − B), σ' = σ (1 − σ). d_w is 0 at the reference
    and often negative.

    Domain: every log-prob.

    Helps: where even the chosen responses are worse than what the model generates: the loss is designed to lower both.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, apo_down
        >>> at_reference(apo_down(beta=0.1))
        'd_w = 0, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions: Addressing Underspecification
        in Alignment", 2024, https://arxiv.org/abs/2408.06266, Eq. 8.

    Note:
        As TRL ships it, which follows the paper's Eq. 8. A closed pull request of TRL (6593) argued for the rejected
        log-ratio alone in the last term.
    """
    positive("apo_down", beta=beta)
    reward = times(beta, log_ratio)

    def regularizer(chosen: ResponseLogps) -> PerPair:
        return -F.sigmoid(reward(chosen))

    def m(z: PerPair) -> PerPair:
        return -F.sigmoid(-z)

    return MarginObjective("apo_down", m, reward, reward, _CITATION, {"beta": beta}, regularizer)
