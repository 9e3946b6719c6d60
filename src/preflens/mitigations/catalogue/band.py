"""Band: the smallest correction of d_w/d_l that moves a pair into the band in which both log-probs move as intended."""

import torch

from preflens.dynamics import band_position
from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, is_treatable, within
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

DISENTANGLING = Citation(
    title="reward calibration and the disentanglement band", authors="Chen et al.", year=2026, arxiv="2604.18239",
    location="the band ρ r* < r < r*/ρ", unverified="title not confirmed; read in the authors' code",
)  # fmt: skip


def band(margin: float = 0.1, strength: float = 1.0) -> CoefficientMap:
    """Change log r, r = d_w/d_l, by the smallest amount for which `band_slack` is at least a margin.

    With r* = ‖g_l‖/‖g_w‖ and ρ the cosine, both log-probs of a pair move as intended iff |log(r/r*)| < −log ρ. Here
    log(r/r*) is clipped to ±max(0, −log ρ − margin), and the change is split between the two coefficients, so that
    their product stays: d_w' = k d_w, d_l' = d_l/k. Pairs inside with the margin, and those with ρ ≤ 0, are unchanged.
    A pair whose band is narrower than the margin moves to its center.

    Args:
        margin: the required slack, in natural logarithms of the ratio; no unit.
        strength: 0 for the plain step, 1 for the full map.

    Returns:
        The mitigation.

    Example:
        Norms 1 and 2, cosine ¾: the band is 1.5 < r < 2.67. Without a margin, r = 1 moves to its end 1.5.

        >>> import torch
        >>> from preflens.mitigations import band
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one, two, four = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 2.0, 4.0))
        >>> d = band(margin=0.0).apply(PairCoefficients(one, one), PairGram(one, four, 1.5 * one)).coefficients
        >>> round((d.chosen / d.rejected).item(), 4), round((d.chosen * d.rejected).item(), 4)
        (1.5, 1.0)

    References:
        The band is equivalent to Condition 1 of Yuan et al., arXiv 2410.13828; its name is from arXiv 2604.18239. The
        clip is ours: in that paper's code it is commented out.
    """
    within("band", 0.0, float("inf"), margin=margin)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, PairGram)
        treatable = is_treatable(coefficients, gram)
        position = band_position(gram, coefficients)
        half_width = (position.slack + position.log_ratio.abs() - margin).clamp(min=0)  # −log ρ, less the margin
        outside = treatable & (position.log_ratio.abs() > half_width)
        target = position.log_ratio.sign() * half_width
        log_k = torch.where(outside, 0.5 * (target - position.log_ratio), 0.0)
        return Mitigated(
            scaled_coefficients(coefficients, log_k), ~treatable, state, {"corrected": float(outside.double().mean())}
        )

    return CoefficientMap("band", full, DISENTANGLING, "pair", strength, {"margin": margin, "strength": strength})


def scaled_coefficients(coefficients: PairCoefficients, log_k: torch.Tensor) -> PairCoefficients:
    """Multiply d_w by k and divide d_l by it.

    Args:
        coefficients: d_w and d_l.
        log_k: natural logarithm of k, for each pair.

    Returns:
        Coefficients with the same product.
    """
    return PairCoefficients(coefficients.chosen * log_k.exp(), coefficients.rejected * (-log_k).exp())
