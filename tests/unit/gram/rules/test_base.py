"""Rows and responses."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.rules.base import RuleContext, check_row_counts, linear_gradients, response_rows


def context(names, private):
    return RuleContext(2, names, frozenset(private), (names,), nullcontext)


def test_rows_are_brought_to_three_axes():
    values = torch.arange(24.0).reshape(4, 3, 2)
    assert torch.equal(response_rows(values, nn.Identity(), 4), values)
    assert response_rows(values, nn.Identity(), 2).shape == (2, 6, 2)
    assert response_rows(values.flatten(0, 1), nn.Identity(), 4).shape == (4, 3, 2)


@pytest.mark.parametrize("rows", [1, 7])
def test_rows_that_cannot_be_split_by_response_are_refused(rows):
    with pytest.raises(UnreadableGradientError, match=rf"`Identity` saw {rows} row\(s\) for 4 responses") as error:
        check_row_counts(rows, nn.Identity(), 4)
    assert error.value.mixed


def test_weight_and_bias_are_one_parameter_only_if_both_are_private_and_asked_for():
    bias = nn.Parameter(torch.zeros(1))
    assert context(("weight", "bias"), {"weight", "bias"}).foldable(bias)
    assert not context(("weight", "bias"), {"bias"}).foldable(bias)
    assert not context(("weight",), {"weight", "bias"}).foldable(bias)
    assert not context(("weight", "bias"), {"weight", "bias"}).foldable(None)


def test_gradients_of_a_linear_map_are_the_same_folded_or_not():
    x, d, bias = torch.randn(2, 3, 4), torch.randn(2, 3, 5), torch.zeros(5)
    names = ("weight", "bias")
    (folded,) = linear_gradients(x, d, context(names, names), bias=bias, input_first=True)
    weight, offset = linear_gradients(x, d, context(names, ()), bias=bias, input_first=True)
    torch.testing.assert_close(folded.factor.dense(), torch.cat([weight.factor.dense(), offset.factor.dense()], 1))
    torch.testing.assert_close(weight.factor.dense()[1], (x[1].T @ d[1]).flatten())
