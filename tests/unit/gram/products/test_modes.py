"""Products of gradients with several terms, in both modes."""

import pytest
import torch

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.products.modes import BatchMode, PairMode, products_of
from preflens.types import HeadInput

R, V, W = 4, 5, 3


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def lookup():
    return EmbeddingRows(torch.randint(V, (R, 2)), drawn(R, 2, W), V)


def linear():
    return OuterProductSum(drawn(R, 3, W), drawn(R, 3, V))


def head():
    index = torch.arange(R).repeat_interleave(2)
    return softmax_rows(HeadInput(drawn(2 * R, W), drawn(V, W), torch.randint(V, (2 * R,)), index, responses=R))


TERMS = {
    "one": lambda: [linear()],
    "a layer that is called twice": lambda: [linear(), linear()],
    "an entry that is looked up in two calls": lambda: [lookup(), lookup()],
    "tied embeddings, called head": lambda: [lookup(), linear()],
    "tied embeddings, scored head": lambda: [head(), lookup()],
    "everything": lambda: [head(), lookup(), linear(), Materialized(drawn(R, V * W))],
    "on demand": lambda: [OnDemand(R, lambda i: torch.full((V * W,), 1.0 + i).double()), linear()],
}


def within(gram):
    n = R // 2
    return torch.stack([gram.diagonal()[:n], gram.diagonal()[n:], gram[:n, n:].diagonal()])


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_multiplied_as_their_sum_without_the_head_with_itself(name):
    terms = TERMS[name]()
    total = torch.stack([term.dense() for term in terms]).sum(0)
    gram = total @ total.T
    for term in terms:
        if not isinstance(term, (OuterProductSum, EmbeddingRows, Materialized, OnDemand)):
            gram -= term.dense() @ term.dense().T
    torch.testing.assert_close(products_of(terms, BatchMode(Layout(R))), gram)
    torch.testing.assert_close(products_of(terms, PairMode(Layout(R))), within(gram))


@pytest.mark.parametrize("mode", [BatchMode, PairMode])
def test_factors_that_gradients_carry_are_divided_out(mode):
    factor, by = linear(), torch.tensor([2.0, -1.0, 0.5, 3.0]).double()
    mode = mode(Layout(R))
    torch.testing.assert_close(mode.unscaled(mode.own(factor.scaled(by)), by), mode.own(factor))
