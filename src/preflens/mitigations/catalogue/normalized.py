"""Pairwise normalized gradients: both responses of a pair get a step of the same length."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from preflens.errors import InputError
from preflens.mitigations.kinds.base import CoefficientMap, Full, Mitigated, MovingAverages, Scope, is_treatable
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

# c of each pair, from sqrt(d_w d_l · ‖g_w‖ ‖g_l‖), the geometric mean of the lengths of its two steps.
SCALES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "objective": lambda size: size,
    "shared": lambda size: size.mean().expand(len(size)),
    "unit": torch.ones_like,
}


def normalized(scale: str = "objective", strength: float = 1.0) -> CoefficientMap:
    """Step along c (g_w/‖g_w‖ − g_l/‖g_l‖) for each pair: d_w = c/‖g_w‖, d_l = c/‖g_l‖.

    By Cauchy-Schwarz ⟨g_w, g_l⟩ ≤ ‖g_w‖ ‖g_l‖, so the pair's own part of a plain gradient step has Δ log π(y_w) = η c
    ‖g_w‖ (1 − ρ) ≥ 0 and Δ log π(y_l) = −η c ‖g_l‖ (1 − ρ) ≤ 0: to first order, chosen never falls and rejected never
    rises. It is the center r = ‖g_l‖/‖g_w‖ of the band, the only ratio inside the band for every cosine ρ < 1. Other
    pairs of the batch can still move a pair the other way. So can an adaptive optimizer, for which norms in its own
    metric would be needed.

    Args:
        scale: `objective`: c = sqrt(d_w d_l ‖g_w‖ ‖g_l‖), which goes to zero for pairs that are learned. `shared`: the
            mean of that over the treated pairs. `unit`: c = 1, which never goes to zero.
        strength: 0 for the plain step, 1 for the full map.

    Returns:
        The mitigation.

    Raises:
        InputError: `scale` is unknown.

    Example:
        Norms 1 and 2, d_w = d_l = 1: c = √2, so d_w' = √2 and d_l' = √2/2, whose ratio is r* = 2.

        >>> import torch
        >>> from preflens.mitigations import normalized
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one, two, four = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 2.0, 4.0))
        >>> d = normalized().apply(PairCoefficients(one, one), PairGram(one, four, one)).coefficients
        >>> round(d.chosen.item(), 4), round(d.rejected.item(), 4)
        (1.4142, 0.7071)

    References:
        The name is in Yuan et al., arXiv 2410.13828, Section 5.1; the formula follows from it and from Condition 1.
        Not confirmed: the scale that the authors use.
    """
    if scale not in SCALES:
        raise InputError(
            f"Parameter `scale` of mitigation `normalized` should be one of {', '.join(SCALES)}. Found `{scale}`."
        )

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, PairGram)
        treatable = is_treatable(coefficients, gram)
        chosen_norm, rejected_norm = gram.chosen_sq_norm[treatable].sqrt(), gram.rejected_sq_norm[treatable].sqrt()
        d_w, d_l = coefficients.chosen[treatable], coefficients.rejected[treatable]
        c = SCALES[scale]((d_w * d_l * chosen_norm * rejected_norm).sqrt())
        result = PairCoefficients(
            coefficients.chosen.masked_scatter(treatable, c / chosen_norm),
            coefficients.rejected.masked_scatter(treatable, c / rejected_norm),
        )
        return Mitigated(result, ~treatable, state)

    source = Citation(
        title="A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement",
        authors="Yuan et al.", year=2024, arxiv="2410.13828", location="Section 5.1",
        unverified="formula reconstructed from the name and Condition 1",
    )  # fmt: skip
    # A shared scale depends on all pairs of the batch.
    scope: Scope = "pair" if scale != "shared" else "batch"
    apply = full if scale != "shared" else _of_batches(full)
    return CoefficientMap("normalized", apply, source, scope, strength, {"scale": scale, "strength": strength})


def _of_batches(full: Full) -> Full:
    def of_batch(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        return full(coefficients, gram.pair_gram(), state)

    return of_batch
