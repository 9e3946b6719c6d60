"""Means of first steps, by hand."""

import pytest
import torch

from preflens.analysis.comparison.first_step import FirstSteps
from preflens.analysis.comparison.summary import first_changes, own_steps, summarize
from preflens.objectives import dpo
from preflens.records.outcome import Outcome
from tests.support.hand_made import training


def steps(influence):
    coefficients = torch.tensor([[[1.0, 1.0], [1.0, 3.0]]], dtype=torch.float64)
    shared = torch.tensor([[[1.0, 2.0], [-1.0, 0.0]]], dtype=torch.float64)
    return FirstSteps(coefficients, shared, torch.tensor([influence], dtype=torch.float64))


def test_a_step_on_a_pair_alone_by_hand():
    changes, outcomes = own_steps(["unit"], steps([[0.0, 0.0], [0.0, 0.0]]), training(), learning_rate=0.1)
    # The second pair: 4·1 − 2·3 = −2 for chosen, 2·1 − 2·3 = −4 for rejected.
    assert changes["unit"].chosen.tolist() == pytest.approx([0.1, -0.2])
    assert changes["unit"].rejected.tolist() == pytest.approx([-0.1, -0.4])
    assert outcomes["unit"] == (Outcome.INTENDED, Outcome.BOTH_FALL)


def test_means_of_a_first_step_by_hand():
    change = first_changes(["unit"], steps([[0.5, 1.5], [-0.5, -0.5]]), training(), learning_rate=0.1)["unit"]
    assert change.train.chosen.value == pytest.approx(0.15)
    assert change.train.rejected.value == pytest.approx(-0.05)
    assert change.heldout.chosen.value == pytest.approx(0.2)
    assert change.heldout.difference.value == pytest.approx(0.3)
    assert change.chosen_per_margin.value == pytest.approx(0.2 / 0.3)
    assert change.margin_scale == pytest.approx(1 / 0.3)


def test_there_is_no_ratio_to_a_margin_that_shrinks():
    change = first_changes(["unit"], steps([[-0.5, -1.5], [0.5, 0.5]]), training(), learning_rate=0.1)["unit"]
    assert change.chosen_per_margin.value is change.margin_scale is None


def test_a_summary_counts_outcomes_and_coefficients_that_are_not_positive():
    first = steps([[0.5, 1.5], [-0.5, -0.5]])
    changes = first_changes(["dpo"], first, training(), learning_rate=0.1)
    _, outcomes = own_steps(["dpo"], first, training(), learning_rate=0.1)
    (summary,) = summarize({"dpo": dpo()}, first, changes, outcomes, gridded={"dpo"}, trajectories={"dpo": ()})
    assert (summary.in_grid, summary.negative, summary.same_direction_as) == (True, 0, None)
    assert (summary.outcomes["intended"], summary.outcomes["both_fall"]) == (0.5, 0.5)
