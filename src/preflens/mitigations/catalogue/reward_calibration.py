"""Reward calibration: one factor per batch balances its mean coefficients against the norms of its mean gradients."""

import math
from collections.abc import Mapping

import torch

from preflens.mitigations.catalogue.band import DISENTANGLING, scaled_coefficients
from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, within
from preflens.mitigations.kinds.batch_update import update_of
from preflens.types import BatchGram, PairCoefficients, PairGram


def reward_calibration(decay: float = 0.98, strength: float = 1.0) -> CoefficientMap:
    """Multiply every d_w of a batch by k and divide every d_l by it, k² = (S_l/S_w) / (D_w/D_l).

    D_w and D_l are the mean coefficients of the batch, S_w and S_l the norms of the gradients of its mean chosen and of
    its mean rejected log-prob; each of the four is the exponential moving average of its logarithm over the updates so
    far. This is `normalized` for the batch, treated as one pair. It guarantees nothing for single pairs.

    Args:
        decay: weight of the old average at every update; the average starts at the first value.
        strength: 0 for the plain step, 1 for the full map.

    Returns:
        The mitigation.

    Example:
        One pair with norms 1 and 2 and equal coefficients: k² = 2, as `normalized` would have it.

        >>> import torch
        >>> from preflens.mitigations import reward_calibration
        >>> from preflens.types import BatchGram, PairCoefficients
        >>> g = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)  # rows: g_w, g_l
        >>> gram, one = BatchGram(g @ g.T, torch.zeros(2, dtype=torch.float64)), torch.ones(1, dtype=torch.float64)
        >>> d = reward_calibration().apply(PairCoefficients(one, one), gram).coefficients
        >>> round((d.chosen / d.rejected).item(), 4)
        2.0

    References:
        Chen et al., arXiv 2604.18239, as in their code (decay 0.98). Where that code replaces a mean coefficient below
        zero by 1e-12, here the batch is untreated and the averages stay. The moving averages start from the first batch
        (not confirmed).
    """
    within("reward_calibration", 0.0, 1.0, decay=decay)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        treatable = ~update_of(coefficients, gram).untreated
        logs = _batch_logs(coefficients, gram)
        if logs is None:
            return Mitigated(coefficients, torch.ones_like(treatable), state, {"log_k": 0.0})
        averages = _updated(logs, state, decay)
        logs = averages.logs
        log_k = 0.5 * (logs["S_l"] - logs["S_w"] - logs["D_w"] + logs["D_l"])
        factors = torch.where(treatable, log_k, 0.0).to(coefficients.chosen)
        return Mitigated(scaled_coefficients(coefficients, factors), ~treatable, averages, {"log_k": log_k})

    return CoefficientMap(
        "reward_calibration", full, DISENTANGLING, "batch", strength, {"decay": decay, "strength": strength}
    )


def _batch_logs(coefficients: PairCoefficients, gram: BatchGram) -> Mapping[str, float] | None:
    """Logarithms of the four numbers of a batch, or None if one of them is not positive."""
    n = len(coefficients.chosen)
    blocks = gram.matrix[:n, :n], gram.matrix[gram.pairs : gram.pairs + n, gram.pairs : gram.pairs + n]
    squares = [float(block.mean()) for block in blocks]  # ‖mean of gradients‖²
    means = [float(d.mean()) for d in (coefficients.chosen, coefficients.rejected)]
    if min(*squares, *means) <= 0:
        return None
    numbers = (*means, *(math.sqrt(s) for s in squares))
    return {name: math.log(value) for name, value in zip(("D_w", "D_l", "S_w", "S_l"), numbers, strict=True)}


def _updated(logs: Mapping[str, float], state: MovingAverages | None, decay: float) -> MovingAverages:
    if state is None:
        return MovingAverages(dict(logs), 1)
    return MovingAverages(
        {name: decay * state.logs[name] + (1 - decay) * value for name, value in logs.items()}, state.updates + 1
    )
