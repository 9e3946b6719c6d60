"""Telling people: through the log, and through a tracker that knows alerts."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec

from preflens.training.alerts import Alert

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
