"""DPO-Shift: DPO with the rejected reward scaled down."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import between, positive

_CITATION = Citation(
    "DPO-Shift: Shifting the Distribution of Direct Preference Optimization",
    "Yang et al.",
    2025,
    "2502.07599",
    "the DPO-Shift loss",
    method="DPO-Shift",
    configurations="`dpo_shift:factor=0.95` (authors' code)",
    differences="the paper also has a schedule, which is not here",
)


def dpo_shift(beta: float = 0.1, factor: float = 0.95) -> MarginObjective:
    """DPO-Shift with a fixed factor.

    ℓ = −log σ( β A − f β B ), A = a_w − r_w, B = a_l − r_l, the margin form with m(z) = log σ(z), h_w = β A, h_l = f β
    B.

    Coefficients: d_w = β σ(−z), d_l = f β σ(−z), so d_w/d_l = 1/f always.

    Domain: every log-prob.

    Helps: where ⟨g_w,g_l⟩ is a little above ‖g_w‖²: the chosen response rises as long as ⟨g_w,g_l⟩ < ‖g_w‖²/f, at the
    price of a smaller margin.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        factor: f in (0, 1]; 0.95 in the authors' code. The paper also tries a linear schedule between 0.95 and 1.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, dpo_shift
        >>> at_reference(dpo_shift(beta=0.1))
        'd_w = 0.05, d_l = 0.0475 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Yang et al., "DPO-Shift: Shifting the Distribution of Direct Preference Optimization", 2025,
        https://arxiv.org/abs/2502.07599, the DPO-Shift loss.
    """
    positive("dpo_shift", beta=beta)
    between("dpo_shift", 0.0, 1.0, include_low=False, include_high=True, factor=factor)
    chosen_reward, rejected_reward = times(beta, log_ratio), times(factor * beta, log_ratio)
    parameters = {"beta": beta, "factor": factor}
    return MarginObjective("dpo_shift", F.logsigmoid, chosen_reward, rejected_reward, _CITATION, parameters)
