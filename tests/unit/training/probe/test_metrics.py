"""Metrics are means over pairs, and finite."""

import math

import pytest
import torch

from preflens.training.probe.calibration import Calibration
from preflens.training.probe.metrics import (
    calibration_metrics,
    change_metrics,
    finite_values,
    gram_metrics,
    result_metrics,
)
from preflens.training.probe.result import ProbeResult
from preflens.types import LogpChange, PairGram


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


GRAM = PairGram(vector(1.0, 4.0), vector(4.0, 0.0), vector(1.0, 0.0))
CHANGE = LogpChange(vector(1.0, 3.0), vector(-1.0, -2.0))


def test_geometry_is_a_mean_over_pairs_that_have_it():
    assert gram_metrics(GRAM) == pytest.approx({"cosine": 0.5, "ratio_chosen": 0.5, "ratio_rejected": 0.25})


def test_a_change_has_a_mean_for_each_side():
    assert change_metrics("plain", CHANGE) == {"plain_chosen": 2.0, "plain_rejected": -1.5}
    assert change_metrics("plain", None) == {}


def test_names_of_held_out_pairs_have_a_prefix_and_what_is_not_known_is_left_out():
    result = ProbeResult(
        pairs=(),
        chosen_logp=vector(-1.0, -3.0),
        rejected_logp=vector(-2.0, -4.0),
        gram=GRAM,
        coefficients=None,
        plain=CHANGE,
        optimizer=None,
        measured=CHANGE,
    )
    metrics = result_metrics(result, prefix="probe_")
    assert metrics["probe_logp_chosen"] == -2.0
    assert metrics["probe_measured_rejected"] == -1.5
    assert not [name for name in metrics if "optimizer" in name or "share" in name or "floor" in name]


def test_finite_values_have_the_prefix_of_the_package():
    assert finite_values({"a": 1.0, "b": math.nan, "c": math.inf}) == {"preflens/a": 1.0}


def test_calibration_is_reported_for_each_forecast_with_enough_points():
    calibration = Calibration()
    for measured in (0.1, -0.2, 0.3, -0.4, 0.1, -0.2, 0.3, -0.4):
        calibration.add("chosen", {"plain": 2 * measured}, measured)
    metrics = calibration_metrics(calibration)
    assert metrics["plain_slope"] == pytest.approx(0.5)
    assert metrics["plain_signs"] == 1.0
    assert not [name for name in metrics if name.startswith("optimizer")]
