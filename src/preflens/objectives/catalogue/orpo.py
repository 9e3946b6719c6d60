"""ORPO: the likelihood of the chosen response and an odds ratio, without a reference model."""

import torch
import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import logp_per_token
from preflens.objectives.kinds.validation import non_negative
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "ORPO: Monolithic Preference Optimization without Reference Model",
    "Hong et al.",
    2024,
    "2403.07691",
    "Eqs. 6 and 7",
    method="ORPO",
    configurations="`orpo:lam=0.1` (paper)",
    differences="TRL's experimental ORPO trainer takes the mean over all chosen tokens as likelihood and calls λ "
    "`beta`",
)


def orpo(lam: float = 0.1) -> MarginObjective:
    """Odds Ratio Preference Optimization (ORPO).

    ℓ = −q_w − λ log σ(O_w − O_l), q = a/|y| and O = q − log(1 − exp q), the log-odds of the geometric mean probability.
    The margin form with m(z) = λ log σ(z), h_w = h_l = O, Λ(a) = q.

    Coefficients: d_w = 1/|y_w| + λ σ(−z)/(|y_w| (1 − exp q_w)), d_l = λ σ(−z)/(|y_l| (1 − exp q_l)), z = O_w − O_l.

    Domain: log-probs below zero; at probability 1 the odds are infinite.

    Helps: where there is no separate supervised stage. The likelihood term makes d_w/d_l large, so the chosen response
    tends to rise, and the rejected one as well.

    Args:
        lam: λ ≥ 0, weight of the odds ratio; the paper's and TRL's value is 0.1 (TRL calls it `beta`).

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, orpo
        >>> at_reference(orpo(lam=0.1))
        'd_w = 0.106, d_l = 0.00578 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model", 2024,
        https://arxiv.org/abs/2403.07691, Eqs. 6 and 7.

    Note:
        TRL takes the mean over all chosen tokens of a batch as the likelihood; here it is the mean within each
        response, as in the paper.
    """
    non_negative("orpo", lam=lam)

    def log_odds(response: ResponseLogps) -> PerPair:
        q = response.logp_per_token
        # log(1 − exp q): the first form loses digits for q far below 0, the second near 0. Each gets only the q it is
        # meant for: a form that overflows would spoil the derivative even where it is not chosen.
        near = q > -0.7
        close, far = torch.where(near, q, -1.0), torch.where(near, -1.0, q)
        tail = torch.where(near, torch.log(-torch.expm1(close)), torch.log1p(-far.exp()))
        return q - tail

    def m(z: PerPair) -> PerPair:
        return lam * F.logsigmoid(z)

    return MarginObjective("orpo", m, log_odds, log_odds, _CITATION, {"lam": lam}, regularizer=logp_per_token)
