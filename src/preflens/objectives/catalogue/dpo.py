"""DPO: the logistic loss of a margin of log-ratios."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import positive

_CITATION = Citation(
    "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
    "Rafailov et al.",
    2023,
    "2305.18290",
    "Eq. 7",
    method="DPO",
    configurations="`dpo:beta=0.1` (TRL's default); `dpo:beta=0.01` for the tuned baselines of the SimPO paper",
    differences="TRL 0.29 and later ignore `label_smoothing` on `sigmoid`; use `cdpo` for it",
)


def dpo(beta: float = 0.1) -> MarginObjective:
    """Direct Preference Optimization.

    ℓ = −log σ( β [ (a_w − r_w) − (a_l − r_l) ] ), with a the log-prob of a response under the policy and r under the
    reference model. In the margin form: m(z) = log σ(z), h_w = h_l = β (a − r), no regularizer. So d_w = d_l.

    Coefficients: d_w = d_l = β σ(−β u), u = (a_w − r_w) − (a_l − r_l).

    Domain: every log-prob.

    Helps: as the baseline: with d_w = d_l and aligned gradients, the response with the smaller gradient norm moves the
    wrong way first.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        At the reference model the margin is zero and both coefficients are β σ(0) = 0.05:

        >>> import torch
        >>> from preflens import PairLogps
        >>> from preflens.objectives import dpo
        >>> logps = PairLogps(*(torch.tensor([x]) for x in (-3.0, -5.0, -3.0, -5.0)))
        >>> dpo().coefficients(logps).chosen.item()
        0.05

    Example:
        >>> from preflens.objectives import at_reference, dpo
        >>> at_reference(dpo(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", 2023,
        https://arxiv.org/abs/2305.18290, Eq. 7.
    """
    positive("dpo", beta=beta)
    reward = times(beta, log_ratio)

    return MarginObjective("dpo", m=F.logsigmoid, h_w=reward, h_l=reward, source=_CITATION, parameters={"beta": beta})
