"""Log-probs and rewards for the log, by hand; that they are TRL's is a law."""

import pytest
import torch

from preflens.objectives.parse import parse_objective
from preflens.pair_logps import PairLogps
from preflens.training.trl_rewards import logged_values, rewards_need_reference


def one(value):
    return torch.tensor([value], dtype=torch.float64)


LOGPS = PairLogps(
    one(-6.0), one(-8.0), ref_chosen=one(-7.0), ref_rejected=one(-5.0), chosen_tokens=torch.tensor([3]),
    rejected_tokens=torch.tensor([4]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rewards"),
    [
        ("dpo:beta=0.5", [0.5, -1.5]),  # β (log π − log π_ref)
        ("ipo:tau=0.2", [0.2, -0.6]),
        ("sft", [0.1, -0.3]),  # β of TRL's configuration
        ("0.2*sft+dpo:beta=0.5", [0.5, -1.5]),  # the first term that is not sft
        ("simpo:beta=2", [-4.0, -4.0]),  # β log π / |y|
        ("orpo:lam=0.5", [-1.0, -1.0]),
    ],
)
def test_rewards_are_those_of_the_loss(text, rewards):
    logps, found = logged_values(parse_objective(text), LOGPS, beta=0.1)
    assert logps.tolist() == [-6.0, -8.0]
    assert found.tolist() == pytest.approx(rewards)


@pytest.mark.parametrize(("text", "needs"), [("dpo", True), ("sft", True), ("simpo", False), ("orpo", False)])
def test_rewards_are_log_ratios_where_the_loss_has_a_reference_and_for_sft(text, needs):
    assert rewards_need_reference(parse_objective(text)) is needs
