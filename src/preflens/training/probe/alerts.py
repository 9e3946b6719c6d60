"""What a person in the middle of a run should be told."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from preflens.training.probe.calibration import Calibration
from preflens.training.probe.result import SIDES, ProbeResult


@dataclass(frozen=True)
class Alert:
    """Something to be told.

    Attributes:
        title: which alert; it comes once until the trouble is over.
        text: what was seen and what to do.
    """

    title: str
    text: str


@dataclass
class Alerts:
    """Watches looks for trouble.

    Attributes:
        both_falling: alert after so many probed steps in a row on which both mean log-probs fell; None for never.
        chosen_below: alert when the mean log-prob of held-out chosen responses is so many nats below its start; None
            for never.
        forecast_r2: alert when the optimizer's forecast explains less than this; None for never.
    """

    both_falling: int | None = 5
    chosen_below: float | None = None
    forecast_r2: float | None = 0.5
    _falls: int = field(default=0, init=False)
    _raised: set[str] = field(default_factory=set, init=False)

    def result(self, result: ProbeResult, calibration: Calibration, *, start: float | None) -> list[Alert]:
        """Look for trouble.

        Args:
            result: complete; of the held-out pairs where there are any.
            calibration: with this look in it.
            start: mean log-prob of the held-out chosen responses when training began, nats; None without such pairs.

        Returns:
            What is new.
        """
        found = [self._both_fall(result), self._below(result, start), self._off(calibration)]
        return [alert for alert in found if alert is not None]

    def _both_fall(self, result: ProbeResult) -> Alert | None:
        assert result.measured is not None
        if not all(result.tells(side) for side in SIDES):
            return None  # neither the next fall nor the end of falling
        falls = float(result.measured.chosen.mean()) < 0 and float(result.measured.rejected.mean()) < 0
        self._falls = self._falls + 1 if falls else 0
        return self._once(
            self.both_falling is not None and self._falls >= self.both_falling,
            "chosen and rejected both fall",
            f"Both mean log-probs fell on the last {self._falls} probed steps: the margin grows by rejected answers "
            "falling faster. See docs/my-chosen-logps-fall.md.",
        )

    def _below(self, result: ProbeResult, start: float | None) -> Alert | None:
        assert result.measured is not None
        if self.chosen_below is None or start is None:
            return None
        lost = start - float((result.chosen_logp + result.measured.chosen).mean())
        return self._once(
            lost - result.mean_floor("chosen") > self.chosen_below,
            "held-out chosen answers became less likely",
            f"The mean log-prob of held-out chosen answers is {lost:.3g} nats below where it began.",
        )

    def _off(self, calibration: Calibration) -> Alert | None:
        found = calibration.of("optimizer")
        if self.forecast_r2 is None or found is None or found.r2 is None:
            return None
        return self._once(
            found.r2 < self.forecast_r2,
            "the forecast is off",
            f"First-order forecasts explain {found.r2:.0%} of the last changes (slope {found.slope:.2g}): steps "
            "are too large for the gradients to hold still. The learning rate is high.",
        )

    def _once(self, trouble: bool, title: str, text: str) -> Alert | None:
        new = trouble and title not in self._raised
        (self._raised.add if trouble else self._raised.discard)(title)
        return Alert(title, text) if new else None


LOGGER = logging.getLogger("preflens")


def tell(alerts: Sequence[Alert], *, step: int, trackers: Sequence[str] | str) -> None:
    """Tell whoever is there.

    Args:
        alerts: what is new.
        step: the optimizer's step.
        trackers: that the run reports to.
    """
    for alert in alerts:
        LOGGER.warning("step %d: %s. %s", step, alert.title, alert.text)
        if "trackio" in trackers and find_spec("trackio") is not None:
            import trackio  # an optional tracker, which the run itself has chosen

            trackio.alert(title=alert.title, text=alert.text, level=trackio.AlertLevel.WARN)
