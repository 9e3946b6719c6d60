"""How well predictions agree with measurements: slope, R², correlation, signs."""

import numpy as np
import pytest

from preflens.agreement import agreement

MEASURED = np.array([0.1, -0.2, 0.3, 0.05])


def test_a_perfect_prediction_has_slope_one_and_explains_everything():
    result = agreement(MEASURED, MEASURED)
    assert (result.slope, result.r2, result.signs) == (1.0, 1.0, 1.0)
    assert result.correlation == pytest.approx(1.0)


def test_a_prediction_of_half_the_size_has_slope_two_and_is_not_refitted():
    result = agreement(MEASURED / 2, MEASURED)
    assert result.slope == pytest.approx(2.0)
    assert result.r2 == pytest.approx(1 - 0.25 * (MEASURED**2).sum() / ((MEASURED - MEASURED.mean()) ** 2).sum())


def test_a_prediction_of_the_wrong_sign_is_negative_and_not_clamped():
    result = agreement(-MEASURED, MEASURED)
    assert result.slope == -1.0
    assert result.r2 < 0
    assert result.correlation == pytest.approx(-1.0)
    assert result.signs == 0.0


def test_by_hand():
    result = agreement(np.array([1.0, 2.0, 0.0]), np.array([2.0, 3.0, 1.0]))
    assert result.slope == pytest.approx((1 * 2 + 2 * 3) / (1 + 4))
    assert result.r2 == pytest.approx(1 - 3 / 2)  # each is off by one; the spread about the mean 2 is 0 + 1 + 1
    assert result.correlation == pytest.approx(1.0)
    assert result.signs == pytest.approx(2 / 3)  # a prediction of 0 has no sign


def test_what_is_not_defined_is_none():
    alike = agreement(np.array([0.1, 0.2]), np.array([0.3, 0.3]))
    assert (alike.r2, alike.correlation) == (None, None)
    assert alike.slope is not None
    nothing = agreement(np.zeros(2), np.array([0.1, 0.3]))
    assert (nothing.slope, nothing.correlation) == (None, None)
    empty = agreement(np.empty(0), np.empty(0))
    assert (empty.slope, empty.r2, empty.correlation, empty.signs) == (None, None, None, None)


def test_what_tells_groups_apart_is_not_explained():
    measured, predicted = np.array([1.0, 1.1, -1.0, -1.1]), np.array([1.1, 1.0, -1.1, -1.0])
    groups = np.array(["chosen", "chosen", "rejected", "rejected"])
    assert agreement(predicted, measured).r2 > 0.9
    assert agreement(predicted, measured, groups=groups).r2 == pytest.approx(1 - 0.04 / 0.01)


def test_signs_count_predictions_above_the_floor_only():
    predicted, measured = np.array([0.5, -0.5, 0.01]), np.array([0.4, -0.6, -0.2])
    assert agreement(predicted, measured).signs == pytest.approx(2 / 3)
    assert agreement(predicted, measured, sign_floor=0.1).signs == 1.0
    assert agreement(predicted, measured, sign_floor=0.5).signs is None
