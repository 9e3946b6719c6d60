"""Forecasts beside facts."""

import numpy as np
import pytest

from preflens.training.calibration import Calibration, agreement


def test_a_perfect_forecast_has_slope_one_and_explains_everything():
    fact = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(fact, fact)
    assert (found.slope, found.r2, found.signs) == (1.0, 1.0, 1.0)


def test_a_forecast_of_half_the_size_has_slope_two_and_is_not_refitted():
    fact = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(fact / 2, fact)
    assert found.slope == pytest.approx(2.0)
    assert found.r2 == pytest.approx(1 - 0.25 * (fact**2).sum() / ((fact - fact.mean()) ** 2).sum())


def test_a_forecast_of_the_wrong_sign_is_negative_and_not_clamped():
    fact = np.array([0.1, -0.2, 0.3, 0.05])
    found = agreement(-fact, fact)
    assert found.slope == -1.0
    assert found.r2 < 0
    assert found.signs == 0.0


def test_nothing_is_said_about_facts_that_are_all_alike():
    assert agreement(np.array([0.1, 0.2]), np.array([0.3, 0.3])) is None


def test_persistence_repeats_the_last_fact_of_the_same_side():
    calibration = Calibration()
    for step, fact in enumerate([0.1, 0.2, 0.3, 0.4, 0.5]):
        calibration.add("chosen", {"optimizer": fact}, fact)
        calibration.add("rejected", {"optimizer": -fact}, -fact)
        if step == 0:
            assert calibration.of("persistence") is None
    facts = np.array([s * f for f in (0.2, 0.3, 0.4, 0.5) for s in (1, -1)])
    last = np.array([s * f for f in (0.1, 0.2, 0.3, 0.4) for s in (1, -1)])
    assert calibration.of("persistence") == agreement(last, facts)
    assert calibration.of("optimizer").r2 == 1.0


def test_the_window_forgets():
    calibration = Calibration(window=4)
    for fact in (9.0, 0.1, 0.2, 0.3, 0.4):
        calibration.add("chosen", {"plain": 0.0 if fact == 9.0 else fact}, fact)
        calibration.add("rejected", {"plain": -fact}, -fact)
    assert calibration.of("plain").r2 == 1.0


def test_a_forecast_that_was_never_made_has_no_agreement():
    calibration = Calibration()
    for fact in (0.1, 0.2, 0.3, 0.4):
        calibration.add("chosen", {"plain": fact}, fact)
    assert calibration.of("optimizer") is None
