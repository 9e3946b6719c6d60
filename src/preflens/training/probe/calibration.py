"""How well forecasts of the last steps agreed with what then happened."""

from collections import deque
from dataclasses import dataclass
from math import isfinite

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Forecasts beside facts.

    Attributes:
        slope: of fact on forecast, through the origin; 1 if sizes are right.
        r2: 1 − Σ(fact − forecast)² / Σ(fact − mean fact of its side)²; nothing is fitted, so it is negative where the
            mean of the facts would have been the better forecast.
        signs: share of forecasts with the sign of the fact.
    """

    slope: float
    r2: float
    signs: float


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
        return agreement(forecast, measured, sides)


def agreement(forecast: np.ndarray, measured: np.ndarray, sides: np.ndarray | None = None) -> Agreement | None:
    """Compare forecasts with facts.

    Args:
        forecast: one number a step, nats.
        measured: the same.
        sides: which side each number is about; what tells the sides apart is then no variance to be explained.

    Returns:
        The agreement, or None where all facts are alike or nothing was forecast.
    """
    centre = np.full_like(measured, measured.mean())
    for side in set() if sides is None else set(sides):
        centre[sides == side] = measured[sides == side].mean()
    spread, square = float(((measured - centre) ** 2).sum()), float((forecast**2).sum())
    if spread == 0 or square == 0:
        return None
    missed = float(((measured - forecast) ** 2).sum())
    signs = float((np.sign(forecast) == np.sign(measured)).mean())
    return Agreement(float((forecast * measured).sum()) / square, 1 - missed / spread, signs)
