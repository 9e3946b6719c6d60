"""IPO on log-ratios per token, as TRL trains it."""

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio_per_token
from preflens.objectives.kinds.validation import positive

_CITATION = Citation(
    "A General Theoretical Paradigm to Understand Learning from Human Preferences",
    "Azar et al.",
    2023,
    "2310.12036",
    "Eq. 17, with log-ratios per token",
    method="IPO per token",
    configurations="`ipo_per_token:tau=0.1` (TRL's default)",
    differences="the printed equation sums log-ratios; TRL divides them by length since 0.29, confirmed by the "
    "authors according to its source",
)


def ipo_per_token(tau: float = 0.1) -> MarginObjective:
    """Identity Preference Optimization on length-normalised log-ratios.

    ℓ = ( A/|y_w| − B/|y_l| − 1/(2τ) )², A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = −(z − 1/(2τ))², h_w =
    h_l = (a − r)/|y|.

    Coefficients: d_w = 2 (1/(2τ) − z)/|y_w|, d_l = 2 (1/(2τ) − z)/|y_l|, so d_w/d_l = |y_l|/|y_w|; both are negative
    past the target.

    Domain: every log-prob.

    Helps: as `ipo`, with the target independent of length. A longer chosen response is climbed more weakly than the
    rejected one is descended.

    Args:
        tau: τ > 0; the margin aims at 1/(2τ) nats per token. TRL calls it `beta`; its default is 0.1.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, ipo_per_token
        >>> at_reference(ipo_per_token(tau=0.1))
        'd_w = 1, d_l = 1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences", 2023,
        https://arxiv.org/abs/2310.12036, Eq. 17, with log-ratios per token.

    Note:
        TRL 0.29 and later; a comment in its source says that the authors of the paper confirmed the normalized form.
        `ipo` has the sum of the printed equation.
    """
    positive("ipo_per_token", tau=tau)
    target = 1 / (2 * tau)
    return MarginObjective(
        "ipo_per_token",
        m=lambda z: -((z - target) ** 2),
        h_w=log_ratio_per_token,
        h_l=log_ratio_per_token,
        source=_CITATION,
        parameters={"tau": tau},
    )
