"""SLiC-HF: a hinge on the margin of log-probs, and a term that keeps the chosen response likely."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from preflens.objectives.base import MarginObjective, Source
from preflens.objectives.domain import non_negative, positive
from preflens.types import ResponseLogps

SOURCE = Source(
    "SLiC-HF: Sequence Likelihood Calibration with Human Feedback",
    "Zhao et al.",
    2023,
    "2305.10425",
    "the calibration loss",
)


def slic(delta: float = 1.0, lam: float = 0.1) -> MarginObjective:
    """Sequence Likelihood Calibration, with the chosen response as the regularization target.

    ℓ = max(0, δ − a_w + a_l) − λ a_w. In the margin form: m(z) = min(0, z − δ), h_w = h_l = a, Λ(a) = λ a. So
    d_w = 1[a_w − a_l < δ] + λ and d_l = 1[a_w − a_l < δ]. At the kink the hinge counts as inactive.

    Args:
        delta: δ > 0, margin in nats at which the hinge lets go. The authors try 0.5 to 10.
        lam: λ ≥ 0, weight of the term on the chosen response; no unit.

    Returns:
        The objective.

    References:
        Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", 2023,
        https://arxiv.org/abs/2305.10425, the calibration loss (number of the equation not confirmed).

    Note:
        The paper regularizes towards the target of supervised tuning; the form with the chosen response is the one of
        Yuan et al., arXiv 2410.13828, Table 2. TRL's `hinge` is another loss: it uses log-ratios and has no λ.
    """
    positive("slic", delta=delta)
    non_negative("slic", lam=lam)

    def m(margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        return -F.relu(delta - margin)

    def logp(response: ResponseLogps) -> Float[Tensor, " pair"]:
        return response.logp

    def regularizer(chosen: ResponseLogps) -> Float[Tensor, " pair"]:
        return lam * chosen.logp

    parameters = {"delta": delta, "lam": lam}
    return MarginObjective("slic", m, h_w=logp, h_l=logp, source=SOURCE, parameters=parameters, regularizer=regularizer)
