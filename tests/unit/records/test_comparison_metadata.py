"""Entries of a comparison: what is derived from their fields."""

from preflens.records.comparison_metadata import Trajectory
from tests.cases.comparisons import without_gain


def trajectory(broke_off, impossible_from):
    return Trajectory("learning rate", 0.1, (0,), (0.0,), (0.0,), (0.0,), (0.0,), broke_off, impossible_from)


def test_a_rollout_ends_at_the_first_step_that_is_missing():
    assert trajectory(None, None).ended is None
    assert trajectory(3, None).ended == 3
    assert trajectory(None, 4).ended == 4


def test_a_change_per_nat_of_margin_is_missing_where_the_margin_does_not_grow():
    first, shrinking = without_gain().metadata.objectives
    assert first.per_margin(first.margin.value) == 1.0
    assert first.per_margin(None) is None
    assert shrinking.per_margin(1.0) is None
