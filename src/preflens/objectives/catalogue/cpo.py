"""CPO: a logistic loss of log-probs without a reference model, and the likelihood of the chosen response."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import logp, times
from preflens.objectives.kinds.validation import non_negative, positive

_CITATION = Citation(
    "Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine Translation",
    "Xu et al.",
    2024,
    "2401.08417",
    "Eq. 3 and the likelihood term",
    method="CPO",
    configurations="`cpo:beta=0.1,lam=1` (authors)",
    differences="TRL's experimental CPO trainer takes the mean over all chosen tokens of a batch as likelihood",
)


def cpo(beta: float = 0.1, lam: float = 1.0) -> MarginObjective:
    """Contrastive Preference Optimization.

    ℓ = −log σ( β a_w − β a_l ) − λ a_w. In the margin form: m(z) = log σ(z), h_w = h_l = β a, Λ(a) = λ a. So
    d_w/d_l = 1 + λ / (β σ(−β(a_w − a_l))), which grows without bound as the margin grows.

    Coefficients: d_w = β σ(−z) + λ, d_l = β σ(−z), z = β (a_w − a_l).

    Domain: every log-prob.

    Helps: where the chosen response must not fall. As the margin grows, d_l goes to zero, and the rejected log-prob
    moves with the sign of ⟨g_w,g_l⟩.

    Args:
        beta: β > 0; no unit. The authors use 0.1.
        lam: λ ≥ 0, weight of the log-likelihood of the chosen response, per sequence. The authors use 1.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, cpo
        >>> at_reference(cpo(beta=0.1))
        'd_w = 1.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Xu et al., "Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine
        Translation", 2024, https://arxiv.org/abs/2401.08417, Eq. 3 and the likelihood term added to it.

    Note:
        TRL's CPO trainer takes the mean over all chosen tokens of a batch as its likelihood term; here λ multiplies
        the summed log-prob of each chosen response, as in Yuan et al., arXiv 2410.13828, Table 2.
    """
    positive("cpo", beta=beta)
    non_negative("cpo", lam=lam)
    reward = times(beta, logp)
    return MarginObjective(
        "cpo",
        m=F.logsigmoid,
        h_w=reward,
        h_l=reward,
        source=_CITATION,
        parameters={"beta": beta, "lam": lam},
        regularizer=times(lam, logp),
    )
