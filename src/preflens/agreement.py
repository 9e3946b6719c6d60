"""How well predicted changes agree with measured ones: slope, R², correlation and signs."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Agreement of predictions with measurements; no unit.

    Attributes:
        slope: of measured on predicted, through the origin. It is 1 if sizes are right. None if all predictions are 0.
        r2: 1 − Σ(measured − predicted)² / Σ(measured − mean)², with the mean of the point's group. Nothing is fitted,
            so it is negative where that mean would have been the better prediction. None if measurements do not vary.
        correlation: Pearson's. None for fewer than two points, or where predictions or measurements do not vary.
        signs: share of the points whose measured sign is the predicted one. None without such points.
    """

    slope: float | None
    r2: float | None
    correlation: float | None
    signs: float | None


def agreement(
    predicted: np.ndarray, measured: np.ndarray, *, groups: np.ndarray | None = None, sign_floor: float | None = None
) -> Agreement:
    """Compare predictions with measurements.

    Args:
        predicted: one number per point, nats.
        measured: likewise.
        groups: group of each point, such as chosen and rejected. What tells groups apart is not variance that a
            prediction has to explain, so `r2` is about the means of the groups.
        sign_floor: `signs` counts only predictions larger than this, nats. None counts all of them.

    Returns:
        The agreement.

    Example:
        >>> import numpy as np
        >>> agreement(np.array([0.5, -1.0]), np.array([1.0, -2.0]))
        Agreement(slope=2.0, r2=0.7222222222222222, correlation=1.0, signs=1.0)
    """
    predicted, measured = np.ascontiguousarray(predicted), np.ascontiguousarray(measured)  # same bits for any strides
    square, spread = float(predicted @ predicted), float(((measured - _group_means(measured, groups)) ** 2).sum())
    counted = np.full(len(predicted), True) if sign_floor is None else np.abs(predicted) > sign_floor
    same_sign = np.sign(predicted[counted]) == np.sign(measured[counted])
    return Agreement(
        slope=float(predicted @ measured) / square if square > 0 else None,
        r2=1 - float(((measured - predicted) ** 2).sum()) / spread if spread > 0 else None,
        correlation=_correlation(predicted, measured),
        signs=float(same_sign.mean()) if counted.any() else None,
    )


def _group_means(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The mean of each point's group; of all points without groups."""
    if groups is None:
        return np.full_like(values, values.mean()) if len(values) else values
    means = np.empty_like(values)
    for group in set(groups):
        means[groups == group] = values[groups == group].mean()
    return means


def _correlation(predicted: np.ndarray, measured: np.ndarray) -> float | None:
    if len(predicted) < 2 or predicted.std() == 0 or measured.std() == 0:
        return None
    return float(np.corrcoef(predicted, measured)[0, 1])
