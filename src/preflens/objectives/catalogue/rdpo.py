"""R-DPO: DPO with a penalty on the difference of lengths."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.validation import non_negative, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Disentangling Length from Quality in Direct Preference Optimization",
    "Park et al.",
    2024,
    "2403.19159",
    "the regularized loss, number of the equation not confirmed",
    method="R-DPO",
    configurations="`rdpo:alpha=0.2` (code of Yuan et al., TL;DR)",
    differences="not in TRL",
)


def rdpo(beta: float = 0.1, alpha: float = 0.2) -> MarginObjective:
    """Length-regularized DPO (R-DPO).

    ℓ = −log σ( β [ (a_w − r_w) − (a_l − r_l) ] + α (|y_w| − |y_l|) ), the margin form with m(z) = log σ(z), h_w = h_l =
    β (a − r) + α |y|.

    Coefficients: d_w = d_l = β σ(−β u − α (|y_w| − |y_l|)), u the margin of log-ratios. A longer chosen response gets a
    smaller coefficient.

    Domain: every log-prob.

    Helps: where chosen responses are longer for no good reason. It does not change d_w/d_l = 1, so it does not loosen
    the condition.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        alpha: α ≥ 0, logits per token of difference. 0.2 is what Yuan et al. (arXiv 2410.13828) use on TL;DR in their
            code; 0.05 to 1 were tried elsewhere.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, rdpo
        >>> at_reference(rdpo(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Park et al., "Disentangling Length from Quality in Direct Preference Optimization", 2024,
        https://arxiv.org/abs/2403.19159, the regularized loss, number of the equation not confirmed.

    Note:
        The sign follows from the reward r(x,y) − α|y|, as in the code of Yuan et al.
    """
    positive("rdpo", beta=beta)
    non_negative("rdpo", alpha=alpha)

    def reward(response: ResponseLogps) -> PerPair:
        return beta * response.log_ratio + alpha * response.length.to(response.logp)  # counts are whole numbers

    parameters = {"beta": beta, "alpha": alpha}
    return MarginObjective("rdpo", F.logsigmoid, h_w=reward, h_l=reward, source=_CITATION, parameters=parameters)
