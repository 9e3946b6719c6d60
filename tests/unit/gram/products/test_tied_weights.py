"""Cross terms of an embedding and a linear map with the same weight."""

import pytest
import torch

from preflens.gram.factors.factors import EmbeddingRows, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.products.tied_weights import tied_cross_gram, tied_cross_pairs
from preflens.types import HeadInput

R, V, W = 6, 5, 3


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def linears():
    index = torch.arange(R).repeat_interleave(torch.tensor([1, 2, 3, 1, 1, 2]))
    targets = torch.randint(V, (len(index),))
    head = softmax_rows(HeadInput(drawn(len(index), W), drawn(V, W), targets, index, responses=R))
    return {"called": OuterProductSum(drawn(R, 4, W), drawn(R, 4, V)), "scored": head}


@pytest.mark.parametrize("kind", ["called", "scored"])
def test_cross_terms_are_the_products_of_both_gradients_in_both_orders(kind):
    linear, lookup = linears()[kind], EmbeddingRows(torch.randint(V, (R, 2)), drawn(R, 2, W), V)
    one, other = lookup.dense(), linear.dense()
    expected = one @ other.T + other @ one.T
    torch.testing.assert_close(tied_cross_gram(lookup, linear), expected)
    n = R // 2
    within = torch.stack([expected.diagonal()[:n], expected.diagonal()[n:], expected[:n, n:].diagonal()])
    torch.testing.assert_close(tied_cross_pairs(lookup, linear, Layout(R)), within)
