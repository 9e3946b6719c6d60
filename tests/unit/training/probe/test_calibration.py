"""Forecasts beside facts."""

import numpy as np
import pytest

from preflens.training.probe.calibration import Calibration, agreement

FACTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.2, 0.1, 0.4)


def test_a_perfect_forecast_has_slope_one_and_explains_everything():
    measured = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(measured, measured)
    assert (found.slope, found.r2, found.signs) == (1.0, 1.0, 1.0)


def test_a_forecast_of_half_the_size_has_slope_two_and_is_not_refitted():
    measured = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(measured / 2, measured)
    assert found.slope == pytest.approx(2.0)
    assert found.r2 == pytest.approx(1 - 0.25 * (measured**2).sum() / ((measured - measured.mean()) ** 2).sum())


def test_a_forecast_of_the_wrong_sign_is_negative_and_not_clamped():
    measured = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(-measured, measured)
    assert found.slope == -1.0
    assert found.r2 < 0
    assert found.signs == 0.0


def test_nothing_is_said_about_facts_that_are_all_alike():
    assert agreement(np.array([0.1, 0.2]), np.array([0.3, 0.3])) is None


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
    assert calibration.of("persistence") == agreement(last, metadata, sides)
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


def test_what_tells_the_sides_apart_is_not_explained():
    measured = np.array([1.0, 1.1, -1.0, -1.1])
    forecast, sides = np.array([1.1, 1.0, -1.1, -1.0]), np.array(["chosen", "chosen", "rejected", "rejected"])
    assert agreement(forecast, measured).r2 > 0.9
    assert agreement(forecast, measured, sides).r2 < 0


def test_few_steps_and_broken_numbers_say_nothing():
    calibration = Calibration()
    for measured in (*FACTS[:7], float("nan"), float("inf")):
        calibration.add("chosen", {"plain": measured}, measured)
    assert calibration.of("plain") is None
