"""SimPO: a logistic loss of length-normalized log-probs, without a reference model."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import logp_per_token, times
from preflens.objectives.kinds.validation import non_negative, positive

_CITATION = Citation(
    "SimPO: Simple Preference Optimization with a Reference-Free Reward",
    "Meng et al.",
    2024,
    "2405.14734",
    "the SimPO objective",
    method="SimPO",
    configurations="`simpo:beta=2,gamma=1`; `simpo:beta=10,gamma=3` for newer models, γ/β from 0.1 to 0.8 in the "
    "authors' README",
    differences="here γ is the margin itself; the authors' configuration has γ/β. In TRL's experimental CPO trainer, "
    "not in its DPO trainer",
)


def simpo(beta: float = 2.0, gamma: float = 1.0) -> MarginObjective:
    """Simple Preference Optimization.

    ℓ = −log σ( β a_w/|y_w| − β a_l/|y_l| − γ ). In the margin form: m(z) = log σ(z − γ), h_w = h_l = β a/|y|, no
    regularizer. So d_w/d_l = |y_l|/|y_w|: a longer chosen response is climbed more weakly than the shorter rejected
    one is descended.

    Coefficients: d_w = (β/|y_w|) σ(γ − z), d_l = (β/|y_l|) σ(γ − z), z = β a_w/|y_w| − β a_l/|y_l|.

    Domain: every log-prob.

    Helps: against a bias to long responses, without a reference model.

    Args:
        beta: β > 0, scale of the per-token reward; no unit. The authors use 2.0 to 2.5, 10 for newer models.
        gamma: γ ≥ 0, target margin of the scaled rewards. The authors use γ/β from 0.1 to 0.8; here γ/β = 0.5.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, simpo
        >>> at_reference(simpo(beta=2.0))
        'd_w = 0.146, d_l = 0.146 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward", 2024,
        https://arxiv.org/abs/2405.14734, the SimPO objective (number of the equation not confirmed).

    Note:
        γ is the margin itself, as in the paper's loss; some implementations take the ratio γ/β.
    """
    positive("simpo", beta=beta)
    non_negative("simpo", gamma=gamma)
    reward = times(beta, logp_per_token)
    return MarginObjective(
        "simpo",
        m=lambda z: F.logsigmoid(z - gamma),
        h_w=reward,
        h_l=reward,
        source=_CITATION,
        parameters={"beta": beta, "gamma": gamma},
    )
