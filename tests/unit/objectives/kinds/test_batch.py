"""Losses of a whole update batch."""

import torch

from preflens.objectives.kinds.base import Citation
from preflens.objectives.kinds.batch import BatchObjective, at_rank_of
from preflens.pair_logps import PairLogps


def test_values_get_the_others_of_their_rank_and_gradients_reach_those():
    values, others = (
        torch.tensor([5.0, -1.0, 3.0], requires_grad=True),
        torch.tensor([10.0, 30.0, 20.0], requires_grad=True),
    )
    ranked = at_rank_of(values, others)
    assert ranked.tolist() == [30.0, 10.0, 20.0]
    gradient = torch.autograd.grad(ranked[0], [values, others], allow_unused=True)
    assert gradient[0] is None
    assert gradient[1].tolist() == [0.0, 1.0, 0.0]


def test_coefficients_are_n_times_the_derivative_of_the_mean():
    objective = BatchObjective("x", lambda x: x.chosen.prod().expand(3), Citation("t", "a", 2026, "", ""))
    c = objective.coefficients(PairLogps(torch.tensor([-1.0, -2.0, -4.0]), torch.zeros(3)))
    assert c.chosen.tolist() == [-3 * 8.0, -3 * 4.0, -3 * 2.0]
    assert objective.kind == "batch"
