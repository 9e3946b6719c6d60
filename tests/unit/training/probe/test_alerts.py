"""Which alerts are raised, when, and where they are sent."""

import sys
from types import SimpleNamespace

import torch

from preflens.training.probe.alerts import Alert, Alerts, send_alerts
from preflens.training.probe.calibration import Calibration
from preflens.training.probe.result import ProbeResult
from preflens.types import LogpChange, PairGram


def result(chosen, rejected, *, logp=-10.0, floor=None):
    def one(value):
        return torch.tensor([value], dtype=torch.float64)

    change = LogpChange(one(chosen), one(rejected))
    gram = PairGram(one(1.0), one(1.0), one(0.5))
    floors = None if floor is None else LogpChange(one(floor), one(floor))
    return ProbeResult(
        pairs=(),
        chosen_logp=one(logp),
        rejected_logp=one(-12.0),
        gram=gram,
        coefficients=None,
        plain=change,
        optimizer=change,
        attribution=change,
        measured=change,
        floor=floors,
    )


def titles(alerts, results, *, start=None, calibration=None):
    found = [alerts.check(each, calibration or Calibration(), start=start) for each in results]
    return [[alert.title for alert in some] for some in found]


def test_both_falling_is_told_once_after_so_many_steps_and_again_after_a_recovery():
    falls, rises = result(-0.1, -0.2), result(0.1, -0.2)
    told = titles(Alerts(both_falling=2), [falls, falls, falls, rises, falls, falls])
    assert [bool(t) for t in told] == [False, True, False, False, False, True]


def test_facts_within_rounding_are_no_falls_and_no_end_of_falls():
    falls, noise = result(-0.1, -0.2), result(-0.1, -0.2, floor=0.15)
    assert titles(Alerts(both_falling=1), [noise, result(0.1, 0.2, floor=0.15)]) == [[], []]
    told = titles(Alerts(both_falling=2), [falls, noise, result(0.1, 0.1, floor=0.15), falls])
    assert [bool(t) for t in told] == [False, False, False, True]


def test_held_out_answers_have_to_be_less_likely_by_more_than_rounding():
    alerts = Alerts(both_falling=None, chosen_below=2.0)
    assert titles(alerts, [result(-0.5, 0.1, logp=-12.0, floor=0.6)], start=-10.0) == [[]]
    assert titles(alerts, [result(-0.5, 0.1, logp=-12.0, floor=0.4)], start=-10.0) != [[]]


def test_a_rising_margin_with_a_rising_chosen_is_no_trouble():
    assert titles(Alerts(both_falling=1), [result(0.1, -0.5)]) == [[]]


def test_chosen_below_its_start_is_told_in_nats():
    alerts = Alerts(both_falling=None, chosen_below=2.0)
    assert titles(alerts, [result(-0.5, 0.1, logp=-11.0), result(-0.5, 0.1, logp=-12.0)], start=-10.0) == [
        [],
        ["held-out chosen answers became less likely"],
    ]
    assert titles(Alerts(both_falling=None, chosen_below=2.0), [result(-5.0, 0.1, logp=-99.0)]) == [[]]


def test_a_forecast_that_is_off_is_told():
    calibration = Calibration()
    for measured in (0.1, -0.2, 0.3, -0.4, 0.1, -0.2, 0.3, -0.4):
        calibration.add("chosen", {"optimizer": -measured}, measured)
    told = titles(Alerts(both_falling=None, forecast_r2=0.5), [result(0.1, -0.1)], calibration=calibration)
    assert told == [["the forecast is off"]]
    assert titles(Alerts(both_falling=None, forecast_r2=None), [result(0.1, -0.1)], calibration=calibration) == [[]]


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
