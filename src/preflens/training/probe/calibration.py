"""Agreement of the forecasts of the last probed steps with the measured changes."""

from collections import deque
from math import isfinite

import numpy as np

from preflens.agreement import Agreement, agreement


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
        result = agreement(forecast, measured, groups=sides)
        return None if result.slope is None or result.r2 is None else result
