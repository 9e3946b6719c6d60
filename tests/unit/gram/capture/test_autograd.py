"""Gradients that leave every `.grad` unchanged."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from preflens.gram.capture.autograd import differentiate, grad_version, is_reentrant, leaves_of

X = torch.tensor([[1.0, 2.0]]).double()


def reentrant(layer):
    return checkpoint(layer, X.clone().requires_grad_(), use_reentrant=True).squeeze()


def test_gradients_are_returned_and_nothing_is_written_also_through_reentrant_checkpoints():
    layer, unused = nn.Linear(2, 1, dtype=torch.float64), nn.Linear(2, 1, dtype=torch.float64)
    layer.weight.grad = before = torch.full((1, 2), 7.0).double()
    for value in (layer(X).squeeze(), reentrant(layer)):
        weight, bias, none = differentiate(value, [layer.weight, layer.bias, unused.weight])
        assert weight.tolist() == [[1.0, 2.0]]
        assert bias.tolist() == [1.0]
        assert none is None
        assert layer.weight.grad is before
        assert before.tolist() == [[7.0, 7.0]]
        assert layer.bias.grad is None


def test_a_number_without_a_graph_has_no_gradients():
    layer = nn.Linear(2, 1, dtype=torch.float64)
    assert differentiate(torch.tensor(1.0), [layer.weight, layer.bias]) == [None, None]


def test_reentrant_checkpoints_are_recognized():
    layer = nn.Linear(2, 1, dtype=torch.float64)
    assert is_reentrant(reentrant(layer))
    assert not is_reentrant(checkpoint(layer, X, use_reentrant=False).squeeze())


def test_leaves_are_the_parameters_behind_the_graph_and_not_those_that_are_cut_off():
    first, second = nn.Linear(2, 2, dtype=torch.float64), nn.Linear(2, 1, dtype=torch.float64)
    assert leaves_of(second(first(X))) == {*first.parameters(), *second.parameters()}
    assert leaves_of(second(first(X).detach())) == set(second.parameters())


def test_a_version_changes_with_every_write_to_a_gradient():
    p = nn.Parameter(torch.zeros(2))
    versions = [grad_version(p)]
    p.grad = torch.zeros(2)
    versions.append(grad_version(p))
    p.grad += 1
    versions.append(grad_version(p))
    assert versions[0] is None
    assert len(set(versions)) == 3
    assert grad_version(p) == versions[-1]
