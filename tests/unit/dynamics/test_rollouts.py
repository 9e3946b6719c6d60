"""Rollouts whose numbers can be computed by hand, or step by step."""

from itertools import islice

import pytest
import torch

from preflens.dynamics import iterate_rollout, rollout, step_change
from preflens.errors import NumericalError
from preflens.objectives import OBJECTIVES, slic
from preflens.pair_logps import PairLogps
from preflens.types import PairCoefficients
from tests.cases.geometries import gram_of_rows as geometry
from tests.cases.logps import far_logps


def test_rollout_of_a_batch_coupled_objective_takes_its_coefficients_from_the_batch():
    torch.manual_seed(3)
    gram, logps = geometry(torch.randn(6, 5, dtype=torch.float64)), far_logps(pairs=3)
    path = rollout(gram, logps, OBJECTIVES["sft"](), steps=2, learning_rate=0.01)
    c = torch.full((3,), 3 / logps.chosen_tokens.sum().item(), dtype=torch.float64)
    change = 0.01 / 3 * gram.matrix[:3, :3] @ c
    torch.testing.assert_close(path.chosen[2], logps.chosen + 2 * change)


def test_rollout_is_exact_for_a_model_that_is_linear_in_its_parameters():
    torch.manual_seed(2)
    features = torch.randn(6, 4, dtype=torch.float64)
    theta = torch.randn(4, dtype=torch.float64, requires_grad=True)
    objective, start = OBJECTIVES["dpo"](), (features @ theta).detach()

    def logps(values):
        return PairLogps(values[:3], values[3:], start[:3], start[3:])

    path = rollout(geometry(features), logps(start), objective, steps=20, learning_rate=0.5)
    now = theta.detach().clone()
    for _ in range(20):
        now.requires_grad_()
        (gradient,) = torch.autograd.grad(objective.loss(logps(features @ now)).mean(), now)
        now = (now - 0.5 * gradient).detach()
    torch.testing.assert_close(torch.cat([path.chosen[-1], path.rejected[-1]]), features @ now)


def test_pairs_outside_every_update_batch_are_moved_by_the_others_only():
    gram = geometry([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])  # chosen of pairs 0 and 1, then rejected
    start = torch.full((2,), -10.0, dtype=torch.float64)
    path = rollout(gram, PairLogps(start, start), slic(), steps=1, learning_rate=0.1, batches=[[0]])
    # the hinge of pair 0 is active: its update is 1.1·(1, 0) − 1·(0, 1)
    torch.testing.assert_close(path.chosen[1] + 10, torch.tensor([0.11, 0.01], dtype=torch.float64))
    torch.testing.assert_close(path.rejected[1] + 10, torch.tensor([-0.1, 0.0], dtype=torch.float64))


def test_update_batches_take_turns():
    torch.manual_seed(0)
    gram, logps, objective = geometry(torch.randn(8, 5)), far_logps(pairs=4), OBJECTIVES["dpo"]()
    values = list(islice(iterate_rollout(gram, logps, objective, learning_rate=0.01, batches=[[0, 2], [1, 3]]), 4))
    for number, indices in enumerate(([0, 2], [1, 3], [0, 2])):
        now = PairLogps(*values[number], logps.ref_chosen, logps.ref_rejected)
        change = step_change(gram, now, objective, torch.tensor(indices))
        torch.testing.assert_close(values[number + 1], values[number] + 0.01 * change)


def test_a_transform_gets_the_gram_of_the_pairs_that_share_the_step_and_its_coefficients_are_taken():
    torch.manual_seed(0)
    gram, logps, given = geometry(torch.randn(6, 5)), far_logps(pairs=3), []

    def halve(coefficients, part):
        given.append(part.matrix)
        return PairCoefficients(coefficients.chosen / 2, coefficients.rejected / 2)

    indices = torch.tensor([2, 0])
    plain = step_change(gram, logps, OBJECTIVES["dpo"](), indices)
    halved = step_change(gram, logps, OBJECTIVES["dpo"](), indices, transform=halve)
    torch.testing.assert_close(halved, plain / 2)
    rows = [2, 0, 5, 3]
    assert torch.equal(given[0], gram.matrix[rows][:, rows])


def test_a_rollout_whose_log_probs_overflow_is_an_error():
    gram, start = geometry([[1e150], [-1e150]]), torch.full((1,), -1.0, dtype=torch.float64)
    with pytest.raises(NumericalError, match="the steps are too large for this objective"):
        rollout(gram, PairLogps(start, start, start, start), OBJECTIVES["ipo"](), steps=1, learning_rate=1e10)
