"""Bootstrap intervals for statistics of a sample of pairs or of update batches."""

from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from preflens.records.common import Estimate

_RESAMPLES = 2000
_AT_ONCE = 50  # resamples in memory at the same time
_SEED = 0

Statistic = Callable[..., np.ndarray]


def estimate(statistic: Statistic, *samples: np.ndarray) -> Estimate:
    """Compute a statistic and its 95 % percentile bootstrap interval.

    Args:
        statistic: function of one or more arrays over the same units, with an `axis` argument.
        *samples: paired arrays, with one entry per unit (a pair, or an update batch).

    Returns:
        Value and interval. No interval for fewer than two units. No value without units or where it is not finite.
    """
    units = len(samples[0])
    value = float(statistic(*samples, axis=-1)) if units else np.nan
    if not np.isfinite(value):
        return Estimate(None)
    if units < 2:
        return Estimate(value)
    interval = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=_RESAMPLES,
        batch=_AT_ONCE,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Estimate(value, *(float(end) if np.isfinite(end) else None for end in (interval.low, interval.high)))


def mean(values: np.ndarray) -> Estimate:
    """Estimate a mean. NaN entries are left out.

    Args:
        values: one entry per unit.

    Returns:
        The estimate.
    """
    return estimate(np.mean, values[~np.isnan(values)])


def ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """Estimate the ratio of two sums over the same units.

    Args:
        above: numerator, one entry per unit.
        below: denominator, likewise.

    Returns:
        The estimate.
    """
    return estimate(_ratio_of_sums, above, below)


def ratios(above: np.ndarray, below: np.ndarray) -> list[Estimate]:
    """Estimate many ratios of sums over the same units from the same resamples, in one matrix product.

    Args:
        above: one numerator per row, one column per unit.
        below: the shared denominator, or one per row.

    Returns:
        One estimate per row. No interval for fewer than two units. No value where it is not finite.
    """
    values, units = _ratio_of_sums(above, below, axis=-1).tolist(), below.shape[-1]
    if units < 2:
        return [Estimate(*map(_finite, (value,))) for value in values]
    counts = np.random.default_rng(_SEED).multinomial(units, np.full(units, 1 / units), size=_RESAMPLES).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.percentile((above @ counts.T) / (below @ counts.T), [2.5, 97.5], axis=1)
    return [Estimate(*map(_finite, row)) for row in zip(values, low.tolist(), high.tolist(), strict=True)]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _ratio_of_sums(above: np.ndarray, below: np.ndarray, axis: int) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above.sum(axis=axis) / below.sum(axis=axis))
