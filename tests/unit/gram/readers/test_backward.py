"""One pass, and what a consumer gets of it."""

import pytest
import torch
from torch import nn

from preflens.errors import InputError, NonFiniteLogpError
from preflens.gram.products.output_head import head_pass
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.owner_search import find_owners
from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(4, 3)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2).double(), nn.Linear(2, 5, bias=False).double()

    def forward(self, x):
        return torch.tanh(self.layer(x))

    def head_input(self):
        return HeadInput(self(X), self.head.weight, torch.tensor([1, 4, 0, 2]), torch.arange(4), responses=4)

    def logps(self):
        return torch.log_softmax(self.head(self(X)), 1)[torch.arange(4), torch.tensor([1, 4, 0, 2])]


class Recorder:
    def __init__(self):
        self.events, self.factors = [], {}

    def on_forward(self, output):
        assert output.responses == 4
        self.events.append("forward")

    def score_head(self, head):
        self.events.append("head")
        return head_pass(head, lambda *_: None)

    def on_module(self, module, gradients):
        self.events.append("module")
        self.factors[module] = torch.cat([part.factor.dense() for part in gradients], 1)

    def on_end(self):
        self.events.append("end")


def gradients_of(model, parameters):
    rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in model.logps()]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def test_a_consumer_gets_output_head_modules_and_end_in_this_order_and_the_gradients_of_autograd():
    model = Model()
    expected = gradients_of(model, list(model.layer.parameters()))
    for forward, events in (
        (model.head_input, ["forward", "head", "module", "end"]),
        (model.logps, ["forward", "module", "module", "end"]),
    ):
        consumer = Recorder()
        run_pass(find_owners(model, dropout=False), forward, consumer)
        assert consumer.events == events
        torch.testing.assert_close(consumer.factors[model.layer], expected)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_log_probs_that_are_not_finite_are_refused_before_the_backward_pass():
    model, consumer = Model(), Recorder()
    with pytest.raises(NonFiniteLogpError):
        run_pass(find_owners(model, dropout=False), lambda: model.logps() / 0, consumer)
    assert consumer.events == ["forward"]
    assert all(p.requires_grad for p in model.parameters())


def test_an_odd_number_of_responses_is_refused():
    model = Model()
    with pytest.raises(InputError, match="as many rejected as chosen"):
        run_pass(find_owners(model, dropout=False), lambda: model.logps()[:3], Recorder())
