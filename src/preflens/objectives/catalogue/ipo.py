"""IPO: a squared loss that stops at a target margin of log-ratios."""

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio
from preflens.objectives.kinds.validation import positive

_CITATION = Citation(
    "A General Theoretical Paradigm to Understand Learning from Human Preferences",
    "Azar et al.",
    2023,
    "2310.12036",
    "Eq. 17",
    method="IPO",
    configurations="`ipo:tau=0.1`",
    differences="the printed equation sums log-ratios, as here; TRL's `ipo` is `ipo_per_token`",
)


def ipo(tau: float = 0.1) -> MarginObjective:
    """Identity Preference Optimization, on summed log-ratios.

    ℓ = ( [ (a_w − r_w) − (a_l − r_l) ] − 1/(2τ) )². In the margin form: m(z) = −(z − 1/(2τ))², h_w = h_l = a − r, no
    regularizer. So d_w = d_l, and both are negative once the margin is past its target 1/(2τ): the step then narrows
    the margin.

    Coefficients: d_w = d_l = 2 (1/(2τ) − u), u = (a_w − r_w) − (a_l − r_l); negative past the target.

    Domain: every log-prob.

    Helps: against margins that grow without bound; d_w/d_l = 1 stays, so the condition is DPO's.

    Args:
        tau: τ > 0; the margin aims at 1/(2τ) nats. TRL calls it `beta`; its default is 0.1.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, ipo
        >>> at_reference(ipo(tau=0.1))
        'd_w = 10, d_l = 10 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences", 2023,
        https://arxiv.org/abs/2310.12036, Eq. 17.

    Note:
        TRL from 0.29 on divides each log-ratio by the response's token count before the margin is taken. This is the
        sum of the paper.
    """
    positive("ipo", tau=tau)
    target = 1 / (2 * tau)
    return MarginObjective(
        "ipo", m=lambda z: -((z - target) ** 2), h_w=log_ratio, h_l=log_ratio, source=_CITATION, parameters={"tau": tau}
    )
