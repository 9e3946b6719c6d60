"""Forecasts beside facts."""

import numpy as np

from preflens.agreement import agreement
from preflens.training.probe.calibration import Calibration

FACTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.2, 0.1, 0.4)


def test_persistence_repeats_the_last_fact_of_the_same_side():
    calibration = Calibration()
    for step, measured in enumerate(FACTS):
        calibration.add("chosen", {"optimizer": measured}, measured)
        calibration.add("rejected", {"optimizer": -measured}, -measured)
        if step == 0:
            assert calibration.of("persistence") is None
    metadata = np.array([s * f for f in FACTS[1:] for s in (1, -1)])
    last = np.array([s * f for f in FACTS[:-1] for s in (1, -1)])
    sides = np.array(["chosen", "rejected"] * (len(FACTS) - 1))
    assert calibration.of("persistence") == agreement(last, metadata, groups=sides)
    assert calibration.of("optimizer").r2 == 1.0


def test_the_window_forgets():
    calibration = Calibration(window=8)
    for measured in (9.0, *FACTS[:8]):
        calibration.add("chosen", {"plain": 0.0 if measured == 9.0 else measured}, measured)
        calibration.add("rejected", {"plain": -measured}, -measured)
    assert calibration.of("plain").r2 == 1.0


def test_a_forecast_that_was_never_made_has_no_agreement():
    calibration = Calibration()
    for measured in FACTS:
        calibration.add("chosen", {"plain": measured}, measured)
    assert calibration.of("plain") is not None
    assert calibration.of("optimizer") is None


def test_few_steps_and_broken_numbers_say_nothing():
    calibration = Calibration()
    for measured in (*FACTS[:7], float("nan"), float("inf")):
        calibration.add("chosen", {"plain": measured}, measured)
    assert calibration.of("plain") is None
