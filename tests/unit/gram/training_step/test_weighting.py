"""Weighted gradients of several passes."""

import pytest
import torch
from torch import nn

from preflens.errors import AuditError
from preflens.gram.training_step.deferred import defer_weighting
from preflens.gram.training_step.weighting import (
    accumulated_gram,
    add_to_grad,
    check_norm,
    parameter_gram,
    parameter_groups,
    squared_norm,
    weighted_gradients,
)
from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(6, 3)
TARGETS = torch.tensor([1, 4, 0, 2, 2, 3])
PASSES = [[0, 3], [1, 2, 4, 5]]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2).double(), nn.Linear(2, 5).double()

    def head_input(self, rows):
        hidden, index = torch.tanh(self.layer(X[rows])), torch.arange(len(rows))
        return HeadInput(hidden, self.head.weight, TARGETS[rows], index, len(rows), bias=self.head.bias)

    def logps(self):
        return torch.log_softmax(self.head(torch.tanh(self.layer(X))), 1)[torch.arange(6), TARGETS]


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def passes(model):
    results = []
    for rows in PASSES:
        with defer_weighting(model, pairs=False) as gradients:
            head = model.head_input(rows)
            gradients.on_forward(head)
            sent, *_ = gradients.through_head(head, torch.ones(len(rows)).double())
            head.hidden.backward(sent)
        results.append(gradients)
    return results


def gradients_of(model, parameters):
    rows = [torch.autograd.grad(v, parameters, retain_graph=True) for v in model.logps()]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def test_the_gram_of_all_passes_has_all_chosen_responses_first(model, passes):
    g = gradients_of(model, list(model.parameters()))  # rows 0, 1, 2 are chosen
    torch.testing.assert_close(accumulated_gram(passes).matrix, g @ g.T)


def test_the_gram_of_one_parameter_is_in_the_order_of_the_passes(model, passes):
    order = [row for rows in PASSES for row in rows]
    for group in parameter_groups(passes):
        g = gradients_of(model, list(group))[order]
        torch.testing.assert_close(parameter_gram(passes, group), g @ g.T)


def test_weighted_gradients_are_those_of_the_weighted_sum_and_have_the_norm_that_the_gram_says(model, passes):
    weights = torch.tensor([1.0, -0.5, 2.0, 0.25, -1.0, 0.75]).double()  # pass by pass
    by_row = torch.empty(6).double()
    by_row[[row for rows in PASSES for row in rows]] = weights
    expected = torch.autograd.grad((by_row * model.logps()).sum(), list(model.parameters()))
    squared = 0.0
    for group, gradients in weighted_gradients(passes, weights):
        squared += squared_norm(gradients)
        add_to_grad(group, gradients)
        add_to_grad(group, gradients)
    for p, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, 2 * gradient)
    gram = accumulated_gram(passes).matrix
    check_norm(squared, gram, by_row, torch.float64)
    with pytest.raises(AuditError, match="squared norm of .*, but the Gram gives"):
        check_norm(1.01 * squared, gram, by_row, torch.float64)


def test_the_norm_of_a_large_float32_tensor_keeps_its_digits():
    tensor = torch.full((1 << 10, 1 << 10), 0.1)
    assert squared_norm([tensor, torch.tensor(2.0)]) == pytest.approx((1 << 20) * 0.1**2 + 4, rel=1e-6)
