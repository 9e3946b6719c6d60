"""Tapped calls become gradients of modules."""

import pytest
import torch
from torch import nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.taps import taps
from preflens.gram.readers.collector import Collector, PassReport
from preflens.gram.readers.owner_search import find_owners
from tests.support.drawn import drawn


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.silent, self.uncalled = (nn.Linear(2, 2).double() for _ in range(3))

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x))).sum(1) + self.silent(x).detach().sum(1)


class Recorder:
    def __init__(self):
        self.modules = []

    def on_module(self, module, gradients):
        self.modules.append((module, len(gradients)))

    def on_forward(self, output): ...
    def score_head(self, head): ...
    def on_end(self): ...


X = drawn(4, 2)


def collected(module):
    owners, consumer = find_owners(module, dropout=False), Recorder()
    collector = Collector(owners, consumer)
    with taps(owners.recognizers(), collector.receive, force=True) as state:
        collector.state = state
        output = module(X)
        collector.end_forward(4)
        output.sum().backward()
        collector.end_backward()
    return owners, consumer, collector.report()


def test_a_module_is_passed_on_once_with_the_gradients_of_all_of_its_calls():
    module = Twice()
    _, consumer, report = collected(module)
    assert consumer.modules == [(module.layer, 2)]
    assert report.called == {module.layer, module.silent}
    assert report.unreached == set(module.silent.parameters())


def test_a_backward_pass_before_the_forward_pass_is_over_is_somebody_elses():
    module = Twice()
    owners, consumer = find_owners(module, dropout=False), Recorder()
    collector = Collector(owners, consumer)
    with taps(owners.recognizers(), collector.receive, force=True) as state:
        collector.state = state
        module(X).sum().backward()
        collector.end_backward()
    assert not consumer.modules


def test_what_is_unreached_is_refused_unless_covered_or_without_influence():
    module = Twice()
    owners, _, report = collected(module)
    with pytest.raises(UnsupportedModelError, match="No gradient reaches `silent.bias` and 1 other parameters"):
        report.check((), owners, lambda: module(X))
    report.check(set(module.silent.parameters()), owners, None)
    idle = PassReport(frozenset({module.uncalled}), frozenset(module.uncalled.parameters()))
    idle.check((), owners, lambda: module(X))
    assert owners.idle == set(module.uncalled.parameters())
    idle.check((), owners, None)  # known by now
