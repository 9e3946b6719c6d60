"""Pairwise normalized gradients: both sides of a pair pull with the same force, whatever their gradients' sizes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from preflens.errors import InputError
from preflens.mitigations.kinds.base import CoefficientMap, Full, Mitigated, MovingAverages, Scope, is_treatable
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

# c of each pair, from sqrt(d_w d_l · ‖g_w‖ ‖g_l‖): how hard the objective pulls at a pair as it is.
SCALES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "objective": lambda pull: pull,
    "shared": lambda pull: pull.mean().expand(len(pull)),
    "unit": torch.ones_like,
}


def normalized(scale: str = "objective", strength: float = 1.0) -> CoefficientMap:
    """Step along c (g_w/‖g_w‖ − g_l/‖g_l‖) for each pair: d_w = c/‖g_w‖, d_l = c/‖g_l‖.

    By Cauchy-Schwarz ⟨g_w, g_l⟩ ≤ ‖g_w‖ ‖g_l‖, so the pair's own part of a plain gradient step has
    Δ log π(y_w) = η c ‖g_w‖ (1 − ρ) ≥ 0 and Δ log π(y_l) = −η c ‖g_l‖ (1 − ρ) ≤ 0: to first order chosen never falls
    and rejected never rises. It is the centre r = ‖g_l‖/‖g_w‖ of the band, the only ratio that is right for every
    cosine ρ < 1. Other pairs of the batch can still move a pair the other way, and so can an adaptive optimizer, where
    the norms would have to be those of its own metric.

    Args:
        scale: `objective`: c = sqrt(d_w d_l ‖g_w‖ ‖g_l‖), so pairs that are learned stop pulling. `shared`: the mean
            of that over the pairs that are treated, the same for all. `unit`: c = 1, which never stops.
        strength: 0 for the plain step, 1 for the whole map.

    Returns:
        The mitigation.

    Raises:
        InputError: there is no such scale.

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
        here = is_treatable(coefficients, gram)
        chosen_norm, rejected_norm = gram.chosen_sq_norm[here].sqrt(), gram.rejected_sq_norm[here].sqrt()
        d_w, d_l = coefficients.chosen[here], coefficients.rejected[here]
        c = SCALES[scale]((d_w * d_l * chosen_norm * rejected_norm).sqrt())
        found = PairCoefficients(
            coefficients.chosen.masked_scatter(here, c / chosen_norm),
            coefficients.rejected.masked_scatter(here, c / rejected_norm),
        )
        return Mitigated(found, ~here, state)

    source = Citation(
        title="A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement",
        authors="Yuan et al.", year=2024, arxiv="2410.13828", location="Section 5.1",
        unverified="formula reconstructed from the name and Condition 1",
    )  # fmt: skip
    # Whoever shares a scale has to know the others.
    scope: Scope = "pair" if scale != "shared" else "batch"
    whole = full if scale != "shared" else _of_batches(full)
    return CoefficientMap("normalized", whole, source, scope, strength, {"scale": scale, "strength": strength})


def _of_batches(full: Full) -> Full:
    def of_batch(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        return full(coefficients, gram.pair_gram(), state)

    return of_batch
