"""Brute force against gradients written down by hand."""

import pytest
import torch
from torch import nn

from preflens.gram import brute_force_batch_gram, brute_force_pair_gram
from preflens.gram.blocks import parameter_blocks
from preflens.gram.brute_force import gradient, leaves_of_pass, products, values_of

X = torch.tensor([[1.0, 0.0], [2.0, 1.0], [3.0, 4.0], [0.0, 1.0]]).double()


def linear():
    return nn.Linear(2, 1, dtype=torch.float64)


def test_gradients_of_a_linear_map_are_its_inputs_and_one():
    module = linear()
    with_one = torch.cat([X, torch.ones(4, 1)], dim=1)
    gram = brute_force_batch_gram(module, lambda: module(X).squeeze(1))
    torch.testing.assert_close(gram.matrix, with_one @ with_one.T)
    pairs = brute_force_pair_gram(module, lambda: module(X).squeeze(1))
    assert pairs.inner_product.tolist() == [4.0, 2.0]  # (1, 0, 1)·(3, 4, 1) and (2, 1, 1)·(0, 1, 1)


def test_chosen_responses_of_all_micro_batches_come_first():
    module = linear()
    whole = brute_force_batch_gram(module, lambda: module(X).squeeze(1))
    parts = [lambda: module(X[[0, 2]]).squeeze(1), lambda: module(X[[1, 3]]).squeeze(1)]
    gram = brute_force_batch_gram(module, parts)
    torch.testing.assert_close(gram.matrix, whole.matrix)
    torch.testing.assert_close(gram.logps, whole.logps)


def test_an_unused_parameter_has_a_gradient_of_zero_and_counts_as_not_reached():
    module = nn.ModuleDict({"used": linear(), "unused": linear()})
    value = module["used"](X[:1]).squeeze()
    reached = set()
    blocks = parameter_blocks(module, "module")
    used, unused = gradient(value, blocks, reached)
    assert [g.abs().sum().item() for g in used] == [1.0, 1.0]
    assert not any(g.any() for g in unused)
    assert reached == set(module["used"].parameters())


def test_products_are_those_of_flattened_gradients_block_by_block():
    rows = [
        [[torch.tensor([[1.0, 2.0]])], [torch.tensor([3.0])]],
        [[torch.tensor([[0.0, 1.0]])], [torch.tensor([2.0])]],
    ]
    assert products(rows).tolist() == [[[5.0, 2.0], [2.0, 1.0]], [[9.0, 6.0], [6.0, 4.0]]]


def test_leaves_of_a_pass_are_the_parameters_that_a_gradient_would_reach():
    module = nn.Sequential(linear(), nn.Tanh(), nn.Linear(1, 1, dtype=torch.float64))
    cut = lambda: module[2](module[0](X).detach()).squeeze(1)  # noqa: E731
    assert leaves_of_pass(cut) == set(module[2].parameters())
    assert leaves_of_pass(lambda: module(X).squeeze(1)) == set(module.parameters())
    assert values_of(cut).shape == (4,)


def test_nothing_trainable_is_refused():
    module = linear().requires_grad_(False)
    with pytest.raises(ValueError, match="No parameter has `requires_grad`"):
        brute_force_pair_gram(module, lambda: module(X).squeeze(1))
