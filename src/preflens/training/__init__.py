"""Preference training with TRL: a trainer for any objective, a probe for any run, and mitigations."""

from importlib.util import find_spec

from preflens.errors import MissingExtraError

if find_spec("trl") is None:
    raise MissingExtraError("Training needs TRL. Install it with `pip install 'preflens[train]'`.")

from preflens.objectives.schedule import Schedule, schedule
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.callback import PreflensCallback
from preflens.training.trainer import PreferenceTrainer

__all__ = ["Alerts", "PreferenceTrainer", "PreflensCallback", "Schedule", "schedule"]
