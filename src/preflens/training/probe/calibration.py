"""Agreement of the forecasts of the last probed steps with the measured changes."""

from collections import deque
from dataclasses import dataclass
from math import isfinite

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How well forecasts agree with measured changes.

    Attributes:
        slope: of measured on forecast, through the origin; 1 if sizes are right.
        r2: 1 − Σ(measured − forecast)² / Σ(measured − mean of its side)²; nothing is fitted, so it is negative where
            the mean of the measured changes would have been the better forecast.
        signs: share of forecasts with the sign of the measured change.
    """

    slope: float
    r2: float
    signs: float


class Calibration:
    """Forecasts and measured mean changes of log-probs at the last probed steps.

    Args:
        window: how many probed steps are kept.
    """

    # Fewer steps do not estimate a spread.
    MIN_STEPS = 8

    def __init__(self, *, window: int = 50) -> None:
        self._rows: deque[tuple[str, dict[str, float], float, float | None]] = deque(maxlen=2 * window)
        self._last: dict[str, float] = {}

    def add(self, side: str, forecasts: dict[str, float], measured: float) -> None:
        """Add a probed step.

        Args:
            side: `chosen` or `rejected`.
            forecasts: by name, nats.
            measured: nats.
        """
        if isfinite(measured) and all(map(isfinite, forecasts.values())):
            self._rows.append((side, forecasts, measured, self._last.get(side)))
            self._last[side] = measured

    def of(self, name: str) -> Agreement | None:
        """Compare one forecast with the measured changes.

        Args:
            name: of the forecast; `persistence` repeats the last measured change.

        Returns:
            The agreement, or None where there are too few points, or all measured changes are equal.
        """
        rows = [
            (side, last if name == "persistence" else forecasts.get(name), measured)
            for side, forecasts, measured, last in self._rows
        ]
        rows = [row for row in rows if row[1] is not None]
        sides = np.array([side for side, _, _ in rows])
        if any((sides == side).sum() < self.MIN_STEPS for side in set(sides)) or not rows:
            return None
        forecast, measured = np.array([row[1:] for row in rows], dtype=float).T
        return agreement(forecast, measured, sides)


def agreement(forecast: np.ndarray, measured: np.ndarray, sides: np.ndarray | None = None) -> Agreement | None:
    """Compare forecasts with measured changes.

    Args:
        forecast: one number per step, nats.
        measured: likewise.
        sides: the side of each number; differences between the sides are then not counted as variance to explain.

    Returns:
        The agreement, or None where all measured changes are equal or all forecasts are zero.
    """
    center = np.full_like(measured, measured.mean())
    for side in set() if sides is None else set(sides):
        center[sides == side] = measured[sides == side].mean()
    spread, square = float(((measured - center) ** 2).sum()), float((forecast**2).sum())
    if spread == 0 or square == 0:
        return None
    residual = float(((measured - forecast) ** 2).sum())
    signs = float((np.sign(forecast) == np.sign(measured)).mean())
    return Agreement(float((forecast * measured).sum()) / square, 1 - residual / spread, signs)
