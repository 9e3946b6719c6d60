"""Rewards of single responses."""

import pytest
import torch

from preflens.objectives.kinds import rewards
from preflens.pair_logps import ResponseLogps

RESPONSE = ResponseLogps(torch.tensor([-6.0]), torch.tensor([-4.0]), torch.tensor([3]))


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (rewards.logp, -6.0), (rewards.log_ratio, -2.0), (rewards.logp_per_token, -2.0),
        (rewards.log_ratio_per_token, -2 / 3), (rewards.zero_reward, 0.0), (rewards.times(0.5, rewards.logp), -3.0),
    ],
)  # fmt: skip
def test_a_reward_is_its_formula(reward, expected):
    assert reward(RESPONSE).item() == pytest.approx(expected)
