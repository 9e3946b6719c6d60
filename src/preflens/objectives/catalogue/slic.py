"""SLiC-HF: a hinge on the margin of log-probs, and a term that keeps the chosen response likely."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import logp, times
from preflens.objectives.kinds.validation import non_negative, positive

_CITATION = Citation(
    "SLiC-HF: Sequence Likelihood Calibration with Human Feedback",
    "Zhao et al.",
    2023,
    "2305.10425",
    "the calibration loss",
    method="SLiC-HF",
    configurations="`slic:delta=1,lam=0.1`; δ from 0.5 to 10",
    differences="the paper regularises towards the SFT target; TRL's `hinge` is `dpo_hinge` and another loss",
)


def slic(delta: float = 1.0, lam: float = 0.1) -> MarginObjective:
    """Sequence Likelihood Calibration, with the chosen response as the regularization target.

    ℓ = max(0, δ − a_w + a_l) − λ a_w. In the margin form: m(z) = min(0, z − δ), h_w = h_l = a, Λ(a) = λ a. At the kink
    the hinge counts as inactive.

    Coefficients: d_w = 1[a_w − a_l < δ] + λ, d_l = 1[a_w − a_l < δ].

    Domain: every log-prob.

    Helps: where the chosen response must not fall: d_w is at least λ. Past δ the rejected log-prob moves with the
    sign of ⟨g_w,g_l⟩.

    Args:
        delta: δ > 0, margin in nats from which the hinge is inactive. The authors try 0.5 to 10.
        lam: λ ≥ 0, weight of the term on the chosen response; no unit.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, slic
        >>> at_reference(slic(delta=1.0))
        'd_w = 1.1, d_l = 1 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", 2023,
        https://arxiv.org/abs/2305.10425, the calibration loss (number of the equation not confirmed).

    Note:
        The paper regularizes towards the target of supervised tuning; the form with the chosen response follows Yuan et
        al., arXiv 2410.13828, Table 2. TRL's `hinge` is another loss: it uses log-ratios and has no λ.
    """
    positive("slic", delta=delta)
    non_negative("slic", lam=lam)
    parameters = {"delta": delta, "lam": lam}
    return MarginObjective("slic", lambda z: -F.relu(delta - z), logp, logp, _CITATION, parameters, times(lam, logp))
