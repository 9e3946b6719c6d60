"""Products of one pass, block by block."""

import pytest
import torch
from torch import nn

from preflens.gram.products.modes import BatchMode, PairMode
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from tests.support.drawn import drawn

X = drawn(4, 3)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again, self.out = (nn.Linear(3, n).double() for n in (3, 3, 1))
        self.again.weight = self.first.weight

    def forward(self):
        return self.out(torch.tanh(self.again(torch.tanh(self.first(X))))).squeeze(1)


def accumulated(module, mode):
    accumulator = GramAccumulator(find_owners(module, dropout=False), mode, equal_inputs=True)
    run_pass(accumulator.owners, module.forward, accumulator)
    return accumulator


def expected_gram(module, parameters):
    rows = [torch.autograd.grad(value, parameters, retain_graph=True) for value in module()]
    g = torch.stack([torch.cat([x.flatten() for x in row]) for row in rows])
    return g @ g.T


def test_every_block_has_the_gram_of_its_parameters_also_where_modules_share_one():
    module = Shared()
    accumulator = accumulated(module, BatchMode)
    assert accumulator.covered == set(module.parameters())
    for block, products in zip(accumulator.owners.blocks, accumulator.products, strict=True):
        torch.testing.assert_close(products, expected_gram(module, block.parameters))
    torch.testing.assert_close(accumulator.logps, module().detach())


@pytest.mark.parametrize("mode", [PairMode, BatchMode])
def test_the_first_pair_of_a_block_is_its_two_by_two_gram(mode):
    module = Shared()
    accumulator = accumulated(module, mode)
    for number, block in enumerate(accumulator.owners.blocks):
        expected = expected_gram(module, block.parameters)[[0, 2]][:, [0, 2]]
        torch.testing.assert_close(accumulator.first_pair(number), expected)


def test_coefficients_that_gradients_carry_are_divided_out():
    module, c = Shared(), torch.tensor([2.0, -1.0, 0.5, 4.0]).double()
    owners = find_owners(module, dropout=False)
    accumulator = GramAccumulator(owners, BatchMode, equal_inputs=True)
    accumulator.coefficients = c
    run_pass(owners, lambda: c * module(), accumulator)
    total = sum(accumulator.products)
    torch.testing.assert_close(total, expected_gram(module, list(module.parameters())))
