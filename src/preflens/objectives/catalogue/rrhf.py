"""RRHF: a ranking hinge of length-normalized log-probs, and the likelihood of the chosen response."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import logp, logp_per_token, times
from preflens.objectives.kinds.validation import non_negative

_CITATION = Citation(
    "RRHF: Rank Responses to Align Language Models with Human Feedback without tears",
    "Yuan et al.",
    2023,
    "2304.05302",
    "Eqs. 2 to 4, numbers not confirmed",
    method="RRHF",
    configurations="`rrhf:lam=1`; 0.1 to 10 were tried",
    differences="the authors take a mean over tokens as likelihood; here it is the sum, as in Table 2",
)


def rrhf(lam: float = 1.0) -> MarginObjective:
    """Rank Responses to align Human Feedback (RRHF), for two responses.

    ℓ = max(0, a_l/|y_l| − a_w/|y_w|) − λ a_w, the margin form with m(z) = min(0, z), h_w = h_l = a/|y|, Λ(a) = λ a.

    Coefficients: d_w = 1[z < 0]/|y_w| + λ, d_l = 1[z < 0]/|y_l|, z = a_w/|y_w| − a_l/|y_l|. At the kink the hinge
    counts as inactive.

    Domain: every log-prob.

    Helps: where the chosen response must not fall: d_w is at least λ. Where the hinge is inactive, d_l = 0 and the
    rejected log-prob moves with the sign of ⟨g_w,g_l⟩.

    Args:
        lam: λ ≥ 0, weight of the summed log-likelihood of the chosen response; no unit. 0.1 to 10 were tried.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, rrhf
        >>> at_reference(rrhf(lam=1.0))
        'd_w = 1, d_l = 0 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Yuan et al., "RRHF: Rank Responses to Align Language Models with Human Feedback without tears", 2023,
        https://arxiv.org/abs/2304.05302, Eqs. 2 to 4, numbers not confirmed.

    Note:
        The paper ranks several responses and adds the cross-entropy of the best one. The authors' code takes the mean
        over tokens there; here λ multiplies the summed log-prob, as in Yuan et al., arXiv 2410.13828, Table 2.
    """
    non_negative("rrhf", lam=lam)
    return MarginObjective(
        "rrhf",
        m=lambda z: -F.relu(-z),
        h_w=logp_per_token,
        h_l=logp_per_token,
        source=_CITATION,
        parameters={"lam": lam},
        regularizer=times(lam, logp),
    )
