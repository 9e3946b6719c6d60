"""Reward calibration: one factor for a whole batch balances its mean coefficients against its mean gradients."""

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
    its mean rejected log-prob; of each of the four, the exponential moving average of its logarithm over the updates so
    far. It is `normalized` for the batch as if it were one pair. A promise about single pairs does not follow.

    Args:
        decay: share of the old average that is kept at every update; the first value starts it.
        strength: 0 for the plain step, 1 for the whole map.

    Returns:
        The mitigation.

    References:
        Chen et al., arXiv 2604.18239, as their code has it (decay 0.98). Where that code replaces a mean coefficient
        below zero by 1e-12, here the batch is left alone and the averages stay; the moving averages start from the
        first batch (not confirmed).
    """
    within("reward_calibration", 0.0, 1.0, decay=decay)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        here = ~update_of(coefficients, gram).untreated
        seen = _batch_logs(coefficients, gram)
        if seen is None:
            return Mitigated(coefficients, torch.ones_like(here), state, {"log_k": 0.0})
        averages = _updated(seen, state, decay)
        logs = averages.logs
        log_k = 0.5 * (logs["S_l"] - logs["S_w"] - logs["D_w"] + logs["D_l"])
        factors = torch.where(here, log_k, 0.0).to(coefficients.chosen)
        return Mitigated(scaled_coefficients(coefficients, factors), ~here, averages, {"log_k": log_k})

    return CoefficientMap(
        "reward_calibration", full, DISENTANGLING, "batch", strength, {"decay": decay, "strength": strength}
    )


def _batch_logs(coefficients: PairCoefficients, gram: BatchGram) -> Mapping[str, float] | None:
    """Logarithms of the four numbers of a batch, or None where one of them is not positive."""
    n = len(coefficients.chosen)
    blocks = gram.matrix[:n, :n], gram.matrix[gram.pairs : gram.pairs + n, gram.pairs : gram.pairs + n]
    squares = [float(block.mean()) for block in blocks]  # ‖mean of gradients‖²
    means = [float(d.mean()) for d in (coefficients.chosen, coefficients.rejected)]
    if min(*squares, *means) <= 0:
        return None
    numbers = (*means, *(math.sqrt(s) for s in squares))
    return {name: math.log(value) for name, value in zip(("D_w", "D_l", "S_w", "S_l"), numbers, strict=True)}


def _updated(seen: Mapping[str, float], state: MovingAverages | None, decay: float) -> MovingAverages:
    if state is None:
        return MovingAverages(dict(seen), 1)
    return MovingAverages(
        {name: decay * state.logs[name] + (1 - decay) * value for name, value in seen.items()}, state.updates + 1
    )
