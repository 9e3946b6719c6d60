"""Outcomes of means: decided by intervals, in the order of their severity."""

import pytest

from preflens.records.common import Estimate
from preflens.records.mean_outcome import MeanOutcome, mean_outcome

UP, DOWN, UNSURE, BARE = Estimate(1.0, 0.5, 1.5), Estimate(-1.0, -1.5, -0.5), Estimate(0.2, -0.1, 0.5), Estimate(3.0)


@pytest.mark.parametrize(
    ("chosen", "rejected", "margin", "outcome"),
    [
        (UP, DOWN, UP, MeanOutcome.INTENDED),
        (UP, DOWN, UNSURE, MeanOutcome.INTENDED),
        (UP, UP, UP, MeanOutcome.BOTH_RISE),
        (DOWN, DOWN, UP, MeanOutcome.BOTH_FALL),
        (UP, UP, DOWN, MeanOutcome.MARGIN_SHRINKS),
        (DOWN, DOWN, DOWN, MeanOutcome.MARGIN_SHRINKS),
        (UNSURE, UNSURE, DOWN, MeanOutcome.MARGIN_SHRINKS),
        (DOWN, UP, UNSURE, MeanOutcome.MARGIN_SHRINKS),
        (UNSURE, DOWN, UP, MeanOutcome.CANNOT_BE_TOLD),
        (UP, UNSURE, UP, MeanOutcome.CANNOT_BE_TOLD),
        (BARE, BARE, BARE, MeanOutcome.CANNOT_BE_TOLD),
    ],
)
def test_intervals_decide(chosen, rejected, margin, outcome):
    assert mean_outcome(chosen, rejected, margin, prompts=5) is outcome


def test_fewer_than_five_held_out_prompts_decide_nothing():
    assert mean_outcome(UP, DOWN, UP, prompts=4) is MeanOutcome.CANNOT_BE_TOLD
