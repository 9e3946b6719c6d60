"""SLIME: a hinge between two margins, the chosen likelihood, and a penalty on unlikely rejected tokens."""

from math import inf

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, TokenObjective
from preflens.objectives.kinds.validation import between, finite, non_negative, positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "SLIME: Stabilized Likelihood Implicit Margin Enforcement for Preference Optimization",
    "Afanasyev and Iov",
    2026,
    "2602.02383",
    "Eqs. 5 to 10",
    method="SLIME",
    configurations="`slime:lam_w=0.1,lam_l=0.1,delta=1.25,hard=1.5,soft=1,k=2.5,p=2.5` (paper)",
    differences="its Eq. 7 takes a mean over rejected tokens; here within each response",
)


def slime(
    lam_w: float = 0.1,
    lam_l: float = 0.1,
    lam_d: float = 1.0,
    *,
    delta: float = 1.25,
    hard: float = 1.5,
    soft: float = 1.0,
    k: float = 2.5,
    p: float = 2.5,
) -> TokenObjective:
    """Stabilized Likelihood Implicit Margin Enforcement (SLIME).

    ℓ = −λ_w a_w + λ_l mean_t softplus(−log π(y_{l,t}) − δ)^p + λ_d max(0, m_h − D) σ(−k (D − m_s)), D = a_w − a_l.

    Coefficients: for every chosen token d_w = λ_w + λ_d q, q = 1[D < m_h] (S + (m_h − D) k S (1 − S)), S = σ(−k (D −
    m_s)); for the rejected token t d_{l,t} = λ_d q − (λ_l p/|y_l|) s_t^{p−1} σ(−log π(y_{l,t}) − δ), s_t =
    softplus(−log π(y_{l,t}) − δ). The last may be negative: a step raises tokens that are already unlikely.

    Domain: every log-prob.

    Helps: where the rejected response is pushed so far that text breaks down: its unlikely tokens are not lowered
    further.

    Args:
        lam_w: λ_w ≥ 0, weight of the chosen log-likelihood; 0.1 in the paper.
        lam_l: λ_l ≥ 0, weight of the penalty on unlikely rejected tokens; 0.1 in the paper.
        lam_d: λ_d ≥ 0, weight of the margin term; 1 in the paper.
        delta: δ, nats around which the penalty on an unlikely rejected token sets in; 1.25 in the paper.
        hard: m_h, margin from which the hinge is inactive, nats; 1.5 in the paper.
        soft: m_s, margin around which it softens, nats; 1 in the paper.
        k: k > 0, sharpness of the softening; 2.5 in the paper.
        p: p ≥ 1, power of the penalty; 2.5 in the paper.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, slime
        >>> at_reference(slime(lam_w=0.1))
        'd_w = 1.29, d_l = 1.17 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Afanasyev and Iov, "SLIME: Stabilized Likelihood Implicit Margin Enforcement for Preference Optimization", 2026,
        https://arxiv.org/abs/2602.02383, Eqs. 5 to 10.
    """
    non_negative("slime", lam_w=lam_w, lam_l=lam_l, lam_d=lam_d)
    finite("slime", delta=delta, hard=hard, soft=soft)
    positive("slime", k=k)
    between("slime", 1.0, inf, p=p)

    def of_tokens(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        logps = rejected.at_tokens(rejected.token_logps, "log-probs")
        held = F.softplus(-logps - delta) ** p * rejected.token_mask(logps)
        margin = chosen.logp - rejected.logp
        apart = F.relu(hard - margin) * F.sigmoid(-k * (margin - soft))
        return -lam_w * chosen.logp + lam_l * held.sum(1) / rejected.length + lam_d * apart

    values = (lam_w, lam_l, lam_d, delta, hard, soft, k, p)
    names = ("lam_w", "lam_l", "lam_d", "delta", "hard", "soft", "k", "p")
    return TokenObjective("slime", of_tokens, _CITATION, dict(zip(names, values, strict=True)))
