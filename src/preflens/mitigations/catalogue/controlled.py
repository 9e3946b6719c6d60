"""The update that changes every log-prob of a batch in the wished-for proportion: (G + damping) v = wishes."""

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, within
from preflens.mitigations.kinds.batch_update import BatchUpdate, update_of
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

_OURS = Citation(
    title="Natural Gradient Works Efficiently in Learning", authors="Amari", year=1998, arxiv="",
    location="the step that moves outputs along a wish is a natural-gradient step of least squares in log-probs",
    unverified="the use on preference pairs is ours", url="https://doi.org/10.1162/089976698300017746",
)  # fmt: skip


def controlled(damping: float = 1e-2, strength: float = 1.0) -> CoefficientMap:
    """Choose the weights v of the gradients so that Δa = η G v is what is wished for.

    The wish is κ d_w for a chosen and −κ d_l for a rejected response: the objective's coefficients say how much each
    should move, while a plain step moves each by what all others happen to do to it. v solves
    (G + damping · diag G) v = κ c, where κ = cᵀGc/cᵀc keeps what the loss falls by, to first order. Undamped, every
    chosen log-prob of the batch rises and every rejected one falls. Damping bounds the weights of gradients that nearly
    cancel, and its price is that changes are met approximately: `met` is ⟨wish, change⟩/‖wish‖². `size` is the new
    update's norm over the plain one's.

    The promise is about a plain gradient step over exactly these responses; micro-batches are treated one by one.

    Args:
        damping: share of each squared gradient norm that is added to it; no unit.
        strength: 0 for the plain step, 1 for the whole map.

    Returns:
        The mitigation.
    """
    within("controlled", 0.0, float("inf"), damping=damping)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        update = update_of(coefficients, gram)
        own = update.free & (update.weights != 0)
        wish = _wish(update, own)
        if wish is None:
            return Mitigated(update.coefficients(update.weights), torch.ones_like(update.untreated), state)
        weights = update.weights.clone()
        others = update.gram[own][:, ~own] @ update.weights[~own]
        matrix = update.gram[own][:, own]
        damped = matrix + damping * matrix.diagonal().diag()
        weights[own] = torch.linalg.lstsq(damped.cpu(), (wish - others).cpu()[:, None]).solution[:, 0].to(weights)
        change = (update.gram @ weights)[own]
        report = {
            "size": update.size(weights) / update.size(update.weights),
            "met": float(wish @ change / (wish @ wish)),
        }
        return Mitigated(update.coefficients(weights), update.untreated, state, report)

    return CoefficientMap(
        "controlled", full, _OURS, "batch", strength, {"damping": damping, "strength": strength}
    )  # fmt: skip


def _wish(update: BatchUpdate, own: Tensor) -> Float64[Tensor, " own"] | None:
    """κ c for the responses that are treated; None where the plain update does not make the loss fall on them."""
    c = update.weights[own]
    if not len(c):
        return None
    fall = c @ (update.gram @ update.weights)[own]
    return None if float(fall) <= 0 else fall / (c @ c) * c
