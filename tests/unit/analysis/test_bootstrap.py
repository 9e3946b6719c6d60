"""Estimates and their intervals."""

import numpy as np
import pytest

from preflens.analysis.bootstrap import estimate, mean, ratio
from preflens.records.facts import Estimate


def test_interval_of_a_mean_is_near_that_of_theory():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    found = mean(values)
    half_width = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half_width, abs=0.2 * half_width)
    assert found.high == pytest.approx(values.mean() + half_width, abs=0.2 * half_width)


def test_estimates_are_the_same_every_time():
    values = np.random.default_rng(1).normal(size=30)
    assert mean(values) == mean(values)


def test_one_unit_has_no_interval_and_none_has_no_value():
    assert mean(np.array([2.0])) == Estimate(2.0)
    assert mean(np.array([])) == Estimate(None)


def test_missing_entries_are_left_out():
    assert mean(np.array([1.0, np.nan, 3.0])).value == 2.0


def test_ratio_is_of_sums_not_a_mean_of_ratios():
    assert ratio(np.array([1.0, 9.0]), np.array([1.0, 1.0])).value == 5.0
    assert ratio(np.array([1.0, 1.0]), np.array([1.0, 9.0])).value == 0.2


def test_ratio_over_zero_has_no_value():
    assert ratio(np.array([1.0]), np.array([0.0])) == Estimate(None)


def test_units_are_resampled_together():
    above = np.arange(1.0, 9.0)
    found = estimate(lambda a, b, axis: (a - 2 * b).sum(axis=axis), 2 * above, above)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
