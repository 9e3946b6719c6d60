"""Rollouts: which steps are recorded, and where a rollout ends."""

import pytest
import torch

from preflens.analysis.comparison.rollout_pairs import RolloutPairs
from preflens.analysis.comparison.rollouts import recorded_steps, roll, trajectories
from preflens.objectives import dpo
from tests.support.hand_made import geometry


def pairs_of(gradients):
    return RolloutPairs(geometry(gradients), ((0,),), 1)


def test_recorded_steps_start_at_zero_and_hold_the_horizons():
    steps = recorded_steps((7, 100), points=5)
    assert steps[0] == 0
    assert {7, 100} <= set(steps)
    assert list(steps) == sorted(set(steps))
    assert steps[-1] == 100


def test_the_first_step_of_a_rollout_by_hand():
    """Pair 0 steps: its chosen gradient is (1, 0), its rejected one (0, 1); the held-out pair has (1, 0) and (1, 0)."""
    followed = pairs_of([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    d = dpo().coefficients(followed.geometry.logps.take(torch.tensor([0]))).chosen.item()
    path = roll(followed, dpo(), learning_rate=0.1, steps=1)
    assert path.change[1].flatten().tolist() == pytest.approx([0.1 * d, 0.1 * d, -0.1 * d, 0.1 * d])
    (trajectory,) = trajectories(
        {"dpo": dpo()}, followed, learning_rate=0.1, equal_margin_rates={"dpo": None}, steps=(0, 1)
    )["dpo"]
    assert trajectory.heldout_rejected == (0.0, pytest.approx(0.1 * d))


def test_a_rollout_ends_before_a_log_prob_above_zero():
    path = roll(pairs_of([[1.0], [1.0], [0.0], [1.0]]), dpo(), learning_rate=1000.0, steps=3)
    assert (path.impossible_from, path.broke_off, len(path.change)) == (1, None, 1)
