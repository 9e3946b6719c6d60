"""Forecasts beside facts."""

import numpy as np
import pytest

from preflens.training.probe.calibration import Calibration, agreement

FACTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.3, 0.2, 0.1, 0.4)


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
    for step, fact in enumerate(FACTS):
        calibration.add("chosen", {"optimizer": fact}, fact)
        calibration.add("rejected", {"optimizer": -fact}, -fact)
        if step == 0:
            assert calibration.of("persistence") is None
    facts = np.array([s * f for f in FACTS[1:] for s in (1, -1)])
    last = np.array([s * f for f in FACTS[:-1] for s in (1, -1)])
    sides = np.array(["chosen", "rejected"] * (len(FACTS) - 1))
    assert calibration.of("persistence") == agreement(last, facts, sides)
    assert calibration.of("optimizer").r2 == 1.0


def test_the_window_forgets():
    calibration = Calibration(window=8)
    for fact in (9.0, *FACTS[:8]):
        calibration.add("chosen", {"plain": 0.0 if fact == 9.0 else fact}, fact)
        calibration.add("rejected", {"plain": -fact}, -fact)
    assert calibration.of("plain").r2 == 1.0


def test_a_forecast_that_was_never_made_has_no_agreement():
    calibration = Calibration()
    for fact in FACTS:
        calibration.add("chosen", {"plain": fact}, fact)
    assert calibration.of("plain") is not None
    assert calibration.of("optimizer") is None


def test_what_tells_the_sides_apart_is_not_explained():
    fact = np.array([1.0, 1.1, -1.0, -1.1])
    forecast, sides = np.array([1.1, 1.0, -1.1, -1.0]), np.array(["chosen", "chosen", "rejected", "rejected"])
    assert agreement(forecast, fact).r2 > 0.9
    assert agreement(forecast, fact, sides).r2 < 0


def test_few_steps_and_broken_numbers_say_nothing():
    calibration = Calibration()
    for fact in (*FACTS[:7], float("nan"), float("inf")):
        calibration.add("chosen", {"plain": fact}, fact)
    assert calibration.of("plain") is None
