"""DPO on log-ratios per token."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio_per_token, times
from preflens.objectives.kinds.validation import positive

_CITATION = Citation(
    "Tulu 3: Pushing Frontiers in Open Language Model Post-Training",
    "Lambert et al.",
    2024,
    "2411.15124",
    "the length-normalized DPO loss, number of the equation not confirmed",
    method="Tulu 3",
    configurations="`dpo_norm:beta=5` (paper)",
    differences="TRL: `sigmoid_norm`, with its default β of 0.1",
)


def dpo_norm(beta: float = 0.1) -> MarginObjective:
    """Length-normalised DPO.

    ℓ = −log σ( β [ A/|y_w| − B/|y_l| ] ), A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = log σ(z), h_w = h_l
    = β (a − r)/|y|.

    Coefficients: d_w = (β/|y_w|) σ(−z), d_l = (β/|y_l|) σ(−z), so d_w/d_l = |y_l|/|y_w|.

    Domain: every log-prob.

    Helps: against a bias to long responses. A longer chosen response is climbed more weakly than the rejected one is
    descended.

    Args:
        beta: β > 0; no unit. 0.1 is the default of TRL; length normalization needs larger values (Tulu 3 uses 5).

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, dpo_norm
        >>> at_reference(dpo_norm(beta=0.1))
        'd_w = 0.005, d_l = 0.005 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Lambert et al., "Tulu 3: Pushing Frontiers in Open Language Model Post-Training", 2024,
        https://arxiv.org/abs/2411.15124, the length-normalized DPO loss, number of the equation not confirmed.

    Note:
        This is TRL's `sigmoid_norm`.
    """
    positive("dpo_norm", beta=beta)
    reward = times(beta, log_ratio_per_token)
    return MarginObjective("dpo_norm", F.logsigmoid, reward, reward, _CITATION, {"beta": beta})
