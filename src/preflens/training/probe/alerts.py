"""Alerts raised during training."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from preflens.training.probe.calibration import Calibration
from preflens.training.probe.result import ProbeResult
from preflens.types import SIDES


@dataclass(frozen=True)
class Alert:
    """A problem of a run.

    Attributes:
        title: which alert; it is raised once until the problem is over.
        text: what was measured and what to do.
    """

    title: str
    text: str


@dataclass(kw_only=True)
class Alerts:
    """Thresholds of the alerts of a run, and which alerts are raised.

    Attributes:
        both_falling: alert after this many consecutive probed steps on which both mean log-probs fell; None for never.
        chosen_below: alert when the mean log-prob of held-out chosen responses is this many nats below its start; None
            for never.
        forecast_r2: alert when the R² of the optimizer forecast is below this; None for never.

    Example:
        >>> Alerts(both_falling=3, chosen_below=2.0).forecast_r2 is None
        False
    """

    both_falling: int | None = 5
    chosen_below: float | None = None
    forecast_r2: float | None = 0.5
    _falls: int = field(default=0, init=False)
    _raised: set[str] = field(default_factory=set, init=False)

    def check(self, result: ProbeResult, calibration: Calibration, *, start: float | None) -> list[Alert]:
        """Check a probed step.

        Args:
            result: complete; of the held-out pairs where there are any.
            calibration: this step included.
            start: mean log-prob of the held-out chosen responses when training began, nats; None without such pairs.

        Returns:
            New alerts.
        """
        alerts = [self._check_both_fall(result), self._check_chosen(result, start), self._check_forecast(calibration)]
        return [alert for alert in alerts if alert is not None]

    def _check_both_fall(self, result: ProbeResult) -> Alert | None:
        assert result.measured is not None
        if not all(result.is_significant(side) for side in SIDES):
            return None  # neither the next fall nor the end of falling
        both_fall = float(result.measured.chosen.mean()) < 0 and float(result.measured.rejected.mean()) < 0
        self._falls = self._falls + 1 if both_fall else 0
        return self._once(
            self.both_falling is not None and self._falls >= self.both_falling,
            "chosen and rejected both fall",
            f"Both mean log-probs fell on the last {self._falls} probed steps: the margin grows by rejected answers "
            "falling faster. See docs/my-chosen-logps-fall.md.",
        )

    def _check_chosen(self, result: ProbeResult, start: float | None) -> Alert | None:
        assert result.measured is not None
        if self.chosen_below is None or start is None:
            return None
        fall = start - float((result.chosen_logp + result.measured.chosen).mean())
        return self._once(
            fall - result.mean_floor("chosen") > self.chosen_below,
            "held-out chosen answers became less likely",
            f"The mean log-prob of held-out chosen answers is {fall:.3g} nats below its start.",
        )

    def _check_forecast(self, calibration: Calibration) -> Alert | None:
        agreement = calibration.of("optimizer")
        if self.forecast_r2 is None or agreement is None or agreement.r2 is None:
            return None
        return self._once(
            agreement.r2 < self.forecast_r2,
            "the forecast is off",
            f"First-order forecasts explain {agreement.r2:.0%} of the variance of the last measured changes (slope "
            f"{agreement.slope:.2g}): steps are too large for first-order forecasts. The learning rate is high.",
        )

    def _once(self, is_problem: bool, title: str, text: str) -> Alert | None:
        is_new = is_problem and title not in self._raised
        (self._raised.add if is_problem else self._raised.discard)(title)
        return Alert(title, text) if is_new else None


LOGGER = logging.getLogger("preflens")


def send_alerts(alerts: Sequence[Alert], *, step: int, trackers: Sequence[str] | str) -> None:
    """Send alerts to the log and, if enabled, to trackio.

    Args:
        alerts: new ones.
        step: the optimizer's step.
        trackers: that the run reports to.
    """
    for alert in alerts:
        LOGGER.warning("step %d: %s. %s", step, alert.title, alert.text)
        if "trackio" in trackers and find_spec("trackio") is not None:
            import trackio  # an optional tracker, which the run itself has chosen

            trackio.alert(title=alert.title, text=alert.text, level=trackio.AlertLevel.WARN)
