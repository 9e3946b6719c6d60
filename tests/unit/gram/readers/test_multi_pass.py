"""Factors kept from pass to pass."""

import pytest
import torch
from torch import nn

from preflens.gram.factors.factors import Materialized
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.multi_pass import MultiPassGram, gram_of_terms, gram_over_passes
from preflens.gram.readers.owner_search import find_owners
from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(6, 3)


class Model(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.double()

    def rows(self, *which):
        return lambda: self(X[list(which)]).squeeze(1)


@pytest.mark.parametrize("memory", [None, 1.0], ids=["kept", "a group per block"])
def test_the_gram_over_passes_is_that_of_all_gradients_chosen_first(memory):
    model = Model()
    forwards = [model.rows(0, 3), model.rows(1, 2, 4, 5)]
    owners = find_owners(model, dropout=False)
    grams, logps = gram_over_passes(owners, forwards, equal_inputs=True, memory=memory)
    values = model(X).squeeze(1)
    rows = [torch.autograd.grad(v, list(model.parameters()), retain_graph=True) for v in values]
    g = torch.stack([torch.cat([x.flatten() for x in row]) for row in rows])
    torch.testing.assert_close(sum(grams), g @ g.T)
    torch.testing.assert_close(logps, values.detach())


def test_only_factors_of_the_chosen_blocks_are_kept_and_counted():
    model = Model()
    owners = find_owners(model, dropout=False)
    number = owners.block_of[model[2].weight]
    store = MultiPassGram(owners, frozenset({number}), equal_inputs=True)
    run_pass(owners, model.rows(0, 3), store)
    assert store.bytes == {number: 2 * (4 + 1) * 8}  # two formed gradients of weight and bias
    products = store.products()
    assert products[number] is not None
    assert sum(p is not None for p in products) == 1


def test_a_head_is_multiplied_with_itself_and_with_the_other_terms():
    index = torch.tensor([0, 1, 1])
    rows = softmax_rows(HeadInput(torch.randn(3, 2).double(), torch.randn(4, 2).double(), index, index, responses=2))
    other = Materialized(torch.randn(2, 8).double())
    dense = rows.dense()
    torch.testing.assert_close(gram_of_terms([rows], 2), dense @ dense.T)
    total = dense + other.values
    torch.testing.assert_close(gram_of_terms([rows, other], 2), total @ total.T)
