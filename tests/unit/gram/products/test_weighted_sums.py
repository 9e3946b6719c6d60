"""Weighted sums of gradients from their factors."""

import pytest
import torch
from torch import nn

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.products.weighted_sums import weighted_head, weighted_sum
from preflens.types import HeadInput

R = 4
WEIGHTS = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def cases():
    values = drawn(R, 10)
    return {
        "narrow output": (OuterProductSum(drawn(R, 3, 5), drawn(R, 3, 2)), [(2, 5)]),
        "narrow input": (OuterProductSum(drawn(R, 3, 2), drawn(R, 3, 5)), [(5, 2)]),
        "input first": (OuterProductSum(drawn(R, 3, 2), drawn(R, 3, 5), input_first=True), [(2, 5)]),
        "with bias": (OuterProductSum(drawn(R, 3, 2), drawn(R, 3, 5), with_bias=True), [(5, 2), (5,)]),
        "look-up": (EmbeddingRows(torch.randint(5, (R, 3)), drawn(R, 3, 2), 5), [(5, 2)]),
        "formed": (Materialized(values), [(2, 4), (2,)]),
        "on demand": (OnDemand(R, lambda i: values[i]), [(2, 4), (2,)]),
    }


@pytest.mark.parametrize("name", cases())
def test_a_weighted_sum_is_that_of_the_gradients_in_the_shape_of_each_parameter(name):
    factor, shapes = cases()[name]
    parts = weighted_sum(factor, WEIGHTS, tuple(nn.Parameter(torch.zeros(shape)) for shape in shapes))
    assert [tuple(part.shape) for part in parts] == shapes
    torch.testing.assert_close(torch.cat([part.flatten() for part in parts]), WEIGHTS @ factor.dense())


def test_a_head_is_summed_slice_by_slice():
    index = torch.tensor([0, 1, 1, 2, 3, 3])
    rows = softmax_rows(HeadInput(drawn(6, 2), drawn(7, 2), torch.randint(7, (6,)), index, responses=R))
    slices = [(columns, rows.gradient_at(columns)) for columns in (slice(0, 3), slice(3, 7))]
    found = weighted_head(rows, slices, WEIGHTS)
    torch.testing.assert_close(found, (WEIGHTS @ rows.dense()).reshape(7, 2))
