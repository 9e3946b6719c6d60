"""How well forecasts of the last steps agreed with what then happened."""

from collections import deque
from math import isfinite

import numpy as np

from preflens.agreement import Agreement, agreement


class Calibration:
    """A window of forecasts and facts: mean changes of log-probs at probed steps.

    Args:
        window: how many probed steps are remembered.
    """

    # Fewer steps say nothing about a spread.
    FEWEST = 8

    def __init__(self, *, window: int = 50) -> None:
        self._rows: deque[tuple[str, dict[str, float], float, float | None]] = deque(maxlen=2 * window)
        self._last: dict[str, float] = {}

    def add(self, side: str, forecasts: dict[str, float], measured: float) -> None:
        """Note a probed step.

        Args:
            side: `chosen` or `rejected`.
            forecasts: by name, nats.
            measured: nats.
        """
        if isfinite(measured) and all(map(isfinite, forecasts.values())):
            self._rows.append((side, forecasts, measured, self._last.get(side)))
            self._last[side] = measured

    def of(self, name: str) -> Agreement | None:
        """Compare one forecast with the facts.

        Args:
            name: of the forecast; `persistence` repeats the last fact.

        Returns:
            The agreement, or None where there are too few points, or all facts are alike.
        """
        known = [
            (side, last if name == "persistence" else forecasts.get(name), measured)
            for side, forecasts, measured, last in self._rows
        ]
        known = [row for row in known if row[1] is not None]
        sides = np.array([side for side, _, _ in known])
        if any((sides == side).sum() < self.FEWEST for side in set(sides)) or not known:
            return None
        forecast, measured = np.array([row[1:] for row in known], dtype=float).T
        result = agreement(forecast, measured, groups=sides)
        return None if result.slope is None or result.r2 is None else result
