"""Who is told."""

import sys
from types import SimpleNamespace

from preflens.training.probe.alerts import Alert, send_alerts

ALERT = Alert("both fall", "Look at held-out pairs.")


def test_the_log_is_told_with_the_step(caplog):
    send_alerts([ALERT], step=7, trackers=[])
    assert "step 7: both fall. Look at held-out pairs." in caplog.text


def test_trackio_is_told_where_the_run_reports_to_it(monkeypatch):
    told = []
    stand_in = SimpleNamespace(alert=lambda **what: told.append(what), AlertLevel=SimpleNamespace(WARN="warn"))
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    monkeypatch.setattr("preflens.training.probe.alerts.find_spec", lambda name: name)
    send_alerts([ALERT], step=7, trackers=["tensorboard"])
    assert told == []
    send_alerts([ALERT], step=7, trackers=["tensorboard", "trackio"])
    assert told == [{"title": "both fall", "text": "Look at held-out pairs.", "level": "warn"}]
