"""Log-probs that report the coefficients of a loss."""

import torch
from torch import nn

from preflens.gram.factors.scored_rows import head_logps
from preflens.gram.products.modes import BatchMode
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.training_step.observed_logps import ObservedHeadLogps, ObservedLogps, head_backward
from preflens.types import HeadInput

C = torch.tensor([2.0, -1.0]).double()


class Receiver:
    def __init__(self, accumulator=None):
        self.coefficients, self._accumulator = None, accumulator

    def on_coefficients(self, coefficients):
        self.coefficients = coefficients

    def through_head(self, head, coefficients):
        self.on_coefficients(coefficients)
        return head_backward(self._accumulator, head, coefficients, None)


def test_log_probs_and_their_gradient_pass_unchanged():
    receiver, a = Receiver(), torch.tensor([-1.0, -2.0]).double().requires_grad_()
    logps = ObservedLogps.apply(receiver, a)
    assert torch.equal(logps, a)
    (C * logps).sum().backward()
    assert torch.equal(a.grad, C)
    assert torch.equal(receiver.coefficients, C)


def test_a_head_gets_the_gradients_of_autograd_and_its_products_are_accumulated():
    linear = nn.Linear(3, 5).double()
    hidden = torch.randn(3, 3).double().requires_grad_()
    head = HeadInput(hidden, linear.weight, torch.tensor([1, 4, 0]), torch.tensor([0, 0, 1]), 2, bias=linear.bias)
    tensors = [hidden, linear.weight, linear.bias]
    expected = torch.autograd.grad((C * head_logps(head)).sum(), tensors)
    accumulator = GramAccumulator(find_owners(linear, dropout=False), BatchMode, equal_inputs=True)
    receiver = Receiver(accumulator)
    logps = ObservedHeadLogps.apply(receiver, head, *tensors)
    torch.testing.assert_close(logps, head_logps(head))
    found = torch.autograd.grad((C * logps).sum(), tensors)
    for gradient, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, reference)
    rows = [torch.autograd.grad(value, tensors[1:], retain_graph=True) for value in head_logps(head)]
    g = torch.stack([torch.cat([x.flatten() for x in row]) for row in rows])
    torch.testing.assert_close(accumulator.products[0], g @ g.T)
