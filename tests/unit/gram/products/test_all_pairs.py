"""Grams of factors against Grams of the gradients themselves."""

import pytest
import torch

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.products import all_pairs
from preflens.gram.products.all_pairs import flat_gram, lookup_gram, outer_gram


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def gram(factor):
    return factor.dense() @ factor.dense().T


@pytest.mark.parametrize("block", [1 << 21, 8], ids=["at once", "in blocks"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 9, 8), (12, 2, 2)], ids=["ghost", "formed"])
def test_outer_products(shape, bias, block, monkeypatch):
    monkeypatch.setattr(all_pairs, "_BLOCK", block)
    monkeypatch.setattr(all_pairs, "_GRAM", block)
    rows, d_in, d_out = shape
    factor = OuterProductSum(drawn(6, rows, d_in), drawn(6, rows, d_out), with_bias=bias)
    torch.testing.assert_close(outer_gram(factor, Layout(6)), gram(factor))


def test_look_ups_contribute_where_they_take_the_same_entry():
    factor = EmbeddingRows(torch.randint(3, (6, 4)), drawn(6, 4, 2), 3)
    torch.testing.assert_close(lookup_gram(factor, Layout(6)), gram(factor))


def test_formed_gradients_in_pieces_and_on_demand(monkeypatch):
    monkeypatch.setattr(all_pairs, "PIECE", 3)
    values = drawn(4, 7)
    torch.testing.assert_close(flat_gram(Materialized(values)), values @ values.T)
    torch.testing.assert_close(flat_gram(OnDemand(4, lambda i: values[i])), values @ values.T)


def test_float32_gradients_are_multiplied_in_float64():
    values = torch.full((2, 1 << 17), 0.1)
    expected = values.double() @ values.double().T
    torch.testing.assert_close(flat_gram(Materialized(values)), expected, rtol=1e-12, atol=0)


def test_rows_that_carry_no_gradient_are_cut():
    factor = OuterProductSum(drawn(2, 5, 3), drawn(2, 5, 4))
    factor.grads[:, 3:] = 0
    expected = gram(factor)
    factor.inputs[:, 3:] = torch.nan
    torch.testing.assert_close(outer_gram(factor, Layout(2, (0, 3), (0, 3), 0, width=5)), expected)
