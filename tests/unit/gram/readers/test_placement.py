"""The first pass over a model, and the passes after it."""

import logging

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError, UnsupportedModelError
from preflens.gram.products.modes import BatchMode
from preflens.gram.readers import placement
from preflens.gram.readers.owner_search import PLACES
from preflens.gram.readers.placement import settled_pass, with_settled_owners
from preflens.gram.readers.single_pass import GramAccumulator
from tests.support.drawn import drawn

X = drawn(4, 2)


class Around(nn.Module):
    """Uses the weight of a layer that it does not call."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2).double()

    def forward(self, x):
        return nn.functional.linear(x, self.layer.weight, self.layer.bias)


def model():
    return nn.Sequential(Around(), nn.Tanh(), nn.Linear(2, 1).double())


def settled(module, *, check=True):
    def make(owners):
        return GramAccumulator(owners, BatchMode, equal_inputs=True)

    forward = lambda: module(X).squeeze(1)  # noqa: E731
    return settled_pass(module, forward, make, lambda one: one, dropout=False, check=check)


def test_the_first_pass_finds_where_gradients_are_read_off_and_says_what_is_slow(caplog):
    module = model()
    with caplog.at_level(logging.WARNING, "preflens"):
        result = settled(module)
    assert PLACES[module] == {"0.layer.weight": "0", "0.layer.bias": "0"}
    assert "The gradients of 2 of 4 parameter tensors are found response by response" in caplog.text
    rows = [torch.autograd.grad(v, list(module.parameters()), retain_graph=True) for v in module(X).squeeze(1)]
    g = torch.stack([torch.cat([x.flatten() for x in row]) for row in rows])
    torch.testing.assert_close(sum(result.products), g @ g.T)


def test_a_later_pass_is_not_audited_again(monkeypatch):
    module = model()
    settled(module)
    monkeypatch.setattr(placement, "audit", None)
    settled(module)


def test_without_audits_nothing_is_searched():
    module = nn.Sequential(Mixing(), nn.Linear(2, 1).double())
    with pytest.raises(UnreadableGradientError, match="`Mixing` gives response"):
        settled(module, check=False)
    assert module not in PLACES


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2).double())

    def forward(self, x):
        return (x - x.mean(0)) * self.w


def test_a_search_without_success_leaves_no_trace_and_names_the_others():
    module = nn.Sequential(Mixing(), nn.Linear(2, 1).double())
    with pytest.raises(UnsupportedModelError, match=r"`Mixing`.*`--parameters`. chooses all others by '\^\(\?!\.\*"):
        settled(module)
    assert module not in PLACES


def test_several_passes_run_with_the_owners_that_were_settled():
    module, runs = model(), []

    def run(owners):
        runs.append(owners)
        return "done"

    forwards = [lambda: module(X).squeeze(1), lambda: module(X + 1).squeeze(1)]
    assert with_settled_owners(module, forwards, run, dropout=False, check=True) == "done"
    assert "layer.weight" in runs[0].parameters[module[0]]
    assert len(runs) == 1
