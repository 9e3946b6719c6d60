"""Gradients captured during somebody else's backward pass."""

import pytest
import torch
from torch import nn

from preflens.gram import brute_force_pair_gram
from preflens.gram.training_step.passive import observe_passively
from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(4, 3)
TARGETS = torch.tensor([1, 4, 0, 2])
C = torch.tensor([2.0, -1.0, 0.5, 4.0]).double()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2).double(), nn.Linear(2, 5).double()

    def hidden(self):
        return torch.tanh(self.layer(X))

    def logps(self, hidden=None):
        hidden = self.hidden() if hidden is None else hidden
        return torch.log_softmax(nn.functional.linear(hidden, self.head.weight, self.head.bias), 1)[
            torch.arange(4), TARGETS
        ]

    def head_input(self, hidden):
        return HeadInput(hidden, self.head.weight, TARGETS, torch.arange(4), responses=4, bias=self.head.bias)


def observed(model, *, coefficients=C, memory=float("inf")):
    """One step with weights C, as the probe observes it."""
    with observe_passively(model, memory=memory) as observer:
        observer.expect(4)
        hidden = model.hidden()
        observer.on_forward(model.head_input(hidden.detach()))
        logps = model.logps(hidden)
        logps.register_hook(lambda _: observer.on_coefficients(coefficients))
        (C * logps).sum().backward()
    return observer


def test_gradients_are_those_of_the_responses_and_the_step_is_unchanged():
    model = Model()
    expected = torch.autograd.grad((C * model.logps()).sum(), list(model.parameters()))
    observer = observed(model)
    assert observer.usable
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))
    gram = brute_force_pair_gram(model, model.logps)
    torch.testing.assert_close(observer.gradients.pair_gram().inner_product, gram.inner_product)
    torch.testing.assert_close(observer.gradients.logps, model.logps().detach())


@pytest.mark.parametrize("coefficients", [None, torch.tensor([1.0, 0.0, 1.0, 1.0])], ids=["tokens differ", "a zero"])
def test_without_a_coefficient_per_response_nothing_is_usable(coefficients):
    assert not observed(Model(), coefficients=coefficients).usable


def test_memory_is_a_limit_and_the_pass_goes_on():
    model = Model()
    observer = observed(model, memory=1.0)
    assert observer.failed
    assert not observer.gradients.factors
    assert model.layer.weight.grad is not None


def test_a_gradient_that_was_not_captured_makes_the_rest_unusable():
    class Beside(Model):
        def __init__(self):
            super().__init__()
            self.beside = nn.Linear(3, 2, bias=False).double()

        def hidden(self):
            return torch.tanh(self.layer(X) + X @ self.beside.weight.T)

    assert not observed(Beside()).usable


def test_taps_are_disabled_after_the_backward_pass():
    model = Model()
    with observe_passively(model) as observer:
        hidden = model.hidden()
        observer.on_forward(model.head_input(hidden.detach()))
        logps = model.logps(hidden)
        logps.register_hook(lambda _: observer.on_coefficients(C))
        (C * logps).sum().backward()
        assert observer.state.inactive
