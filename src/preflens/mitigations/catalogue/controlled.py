"""Controlled: the update that changes every log-prob of a batch in proportion to a target, (G + damping) v = target."""

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, within
from preflens.mitigations.kinds.batch_update import BatchUpdate, update_of
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

_OURS = Citation(
    title="Natural Gradient Works Efficiently in Learning", authors="Amari", year=1998, arxiv="",
    location="the step that changes outputs along a target is a natural-gradient step of least squares in log-probs",
    unverified="the use on preference pairs is ours", url="https://doi.org/10.1162/089976698300017746",
)  # fmt: skip


def controlled(damping: float = 1e-2, strength: float = 1.0) -> CoefficientMap:
    """Choose the weights v of the gradients so that Δa = η G v is proportional to a target.

    The target is κ d_w for a chosen and −κ d_l for a rejected response: each log-prob changes in proportion to its
    coefficient. In a plain step, each change also has the terms of all other responses. v solves (G + damping · diag G)
    v = κ c, where κ = cᵀGc/cᵀc keeps the first-order decrease of the loss. Undamped, every chosen log-prob of the batch
    rises and every rejected one falls. Damping bounds the weights of gradients that nearly cancel. With damping, the
    target is met approximately: `met` is ⟨target, change⟩/‖target‖². `size` is the new update's norm over the plain
    one's.

    The guarantee holds for a plain gradient step over exactly these responses. Micro-batches are treated one by one.

    Args:
        damping: share of each squared gradient norm that is added to the diagonal; no unit.
        strength: 0 for the plain step, 1 for the full map.

    Returns:
        The mitigation.

    Example:
        Without damping, both log-probs change by the same amount, as d_w = d_l.

        >>> import torch
        >>> from preflens.mitigations import controlled
        >>> from preflens.types import BatchGram, PairCoefficients
        >>> g = torch.tensor([[1.0, 0.0], [0.5, 1.0]], dtype=torch.float64)  # rows: g_w, g_l
        >>> gram, one = BatchGram(g @ g.T, torch.zeros(2, dtype=torch.float64)), torch.ones(1, dtype=torch.float64)
        >>> d = controlled(damping=0.0).apply(PairCoefficients(one, one), gram).coefficients
        >>> change = gram.matrix @ torch.cat([d.chosen, -d.rejected])
        >>> [round(x, 4) for x in change.tolist()]
        [0.625, -0.625]
    """
    within("controlled", 0.0, float("inf"), damping=damping)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        update = update_of(coefficients, gram)
        treated = update.free & (update.weights != 0)
        target = _target(update, treated)
        if target is None:
            return Mitigated(update.coefficients(update.weights), torch.ones_like(update.untreated), state)
        weights = update.weights.clone()
        others = update.gram[treated][:, ~treated] @ update.weights[~treated]
        matrix = update.gram[treated][:, treated]
        damped = matrix + damping * matrix.diagonal().diag()
        missing = (target - others).cpu()[:, None]
        weights[treated] = torch.linalg.lstsq(damped.cpu(), missing).solution[:, 0].to(weights)
        change = (update.gram @ weights)[treated]
        report = {
            "size": update.size(weights) / update.size(update.weights),
            "met": float(target @ change / (target @ target)),
        }
        return Mitigated(update.coefficients(weights), update.untreated, state, report)

    return CoefficientMap(
        "controlled", full, _OURS, "batch", strength, {"damping": damping, "strength": strength}
    )  # fmt: skip


def _target(update: BatchUpdate, treated: Tensor) -> Float64[Tensor, " treated"] | None:
    """κ c for the treated responses; None if the plain update does not lower the loss on them."""
    c = update.weights[treated]
    if not len(c):
        return None
    fall = c @ (update.gram @ update.weights)[treated]
    return None if float(fall) <= 0 else fall / (c @ c) * c
