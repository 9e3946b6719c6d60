"""Coefficients of a step are those of all its micro-batches, or of none; the steps themselves are laws."""

import torch

from preflens.training.probe.micro_batch import MicroBatch
from preflens.training.probe.step_probe import step_coefficients


def batch(chosen, rejected):
    ids, completion = torch.tensor([[1, 2], [1, 3]]), torch.tensor([[False, True]] * 2)
    coefficients = None if chosen is None else torch.tensor([[chosen], [rejected]], dtype=torch.float64)
    return MicroBatch(ids, torch.ones_like(completion), completion, coefficients)


def test_coefficients_of_micro_batches_are_joined_in_the_unit_of_a_pairs_own_loss():
    found = step_coefficients([batch(-0.25, 0.5), batch(-0.125, 0.0)], accumulated=2)
    assert found.chosen.tolist() == [0.5, 0.25]
    assert found.rejected.tolist() == [1.0, 0.0]


def test_one_micro_batch_without_coefficients_leaves_the_step_without():
    assert step_coefficients([batch(-0.25, 0.5), batch(None, None)], accumulated=2) is None
    assert step_coefficients([], accumulated=1) is None
