"""DPO+NLL (RPO): DPO and the likelihood of the chosen response."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, logp_per_token, times
from preflens.objectives.kinds.validation import non_negative, positive

_CITATION = Citation(
    "Iterative Reasoning Preference Optimization",
    "Pang et al.",
    2024,
    "2404.19733",
    "Eq. 1; likewise Liu et al., arXiv 2405.16436",
    method="DPO+NLL (RPO)",
    configurations="`rpo:lam=1` (paper)",
    differences='TRL: `["sigmoid", "sft"]`, a mean over all tokens instead of within a response',
)


def rpo(beta: float = 0.1, lam: float = 1.0) -> MarginObjective:
    """DPO with a length-normalised likelihood term (DPO+NLL, also called RPO).

    ℓ = −log σ( β u ) − λ a_w/|y_w|, u = (a_w − r_w) − (a_l − r_l), the margin form with m(z) = log σ(z), h_w = h_l = β
    (a − r), Λ(a) = λ a/|y_w|.

    Coefficients: d_w = β σ(−β u) + λ/|y_w|, d_l = β σ(−β u), so d_w/d_l = 1 + λ/(|y_w| β σ(−β u)), which grows as the
    margin does.

    Domain: every log-prob.

    Helps: where DPO lets the chosen response fall: the likelihood term climbs it at every step.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        lam: λ ≥ 0, weight of the mean log-likelihood of a chosen token; 1 in the paper.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, rpo
        >>> at_reference(rpo(beta=0.1))
        'd_w = 0.15, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Pang et al., "Iterative Reasoning Preference Optimization", 2024, https://arxiv.org/abs/2404.19733, Eq. 1;
        likewise Liu et al., arXiv 2405.16436.

    Note:
        TRL writes it as the losses `sigmoid` and `sft` together, with the mean over all chosen tokens of the batch
        (`dpo+sft` here).
    """
    positive("rpo", beta=beta)
    non_negative("rpo", lam=lam)
    reward = times(beta, log_ratio)
    parameters = {"beta": beta, "lam": lam}
    likelihood = times(lam, logp_per_token)
    return MarginObjective("rpo", F.logsigmoid, reward, reward, _CITATION, parameters, regularizer=likelihood)
