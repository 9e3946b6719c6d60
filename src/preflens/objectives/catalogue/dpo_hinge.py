"""The hinge loss of a margin of log-ratios."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import positive

_CITATION = Citation(
    "Statistical Rejection Sampling Improves Preference Optimization",
    "Liu et al.",
    2023,
    "2309.06657",
    "the hinge-norm loss",
    method="RSO's hinge",
    configurations="`dpo_hinge:beta=0.1` (TRL)",
    differences="TRL: `hinge`. With `use_weighting`, TRL 1.16 fails in its backward pass (in-place product)",
)


def dpo_hinge(beta: float = 0.1) -> MarginObjective:
    """Hinge loss on DPO's margin.

    ℓ = max(0, 1 − β u), u = (a_w − r_w) − (a_l − r_l), the margin form with m(z) = −max(0, 1 − z), h_w = h_l = β (a −
    r).

    Coefficients: d_w = d_l = β 1[β u < 1]. At the kink the hinge counts as inactive.

    Domain: every log-prob.

    Helps: where the coefficients of a pair should be zero once its margin is 1/β nats.

    Args:
        beta: β > 0; the hinge is inactive from a margin of 1/β nats on. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, dpo_hinge
        >>> at_reference(dpo_hinge(beta=0.1))
        'd_w = 0.1, d_l = 0.1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Liu et al., "Statistical Rejection Sampling Improves Preference Optimization", 2023,
        https://arxiv.org/abs/2309.06657, the hinge-norm loss.

    Note:
        This is TRL's `hinge`. SLiC-HF (`slic`) takes log-probs without a reference and adds a likelihood term.
    """
    positive("dpo_hinge", beta=beta)
    reward = times(beta, log_ratio)
    return MarginObjective("dpo_hinge", lambda z: -F.relu(1 - z), reward, reward, _CITATION, {"beta": beta})
