"""Products within pairs from row Grams, where both responses share their first rows."""

import pytest
import torch

from preflens.gram.factors.factors import Materialized, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.products.input_grams import InputGramCache
from preflens.gram.products.within_pairs import flat_pairs, ghost_is_cheaper, outer_pairs

PAIRS, ROWS, WIDTH, OUT = 2, 9, 64, 48


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shared", [0, 1, 4, 7])
@pytest.mark.parametrize("silent", [False, True], ids=["gradients on shared rows", "none there"])
def test_row_grams_of_shared_rows_give_the_products_of_the_gradients(shared, bias, silent):
    inputs, grads = (torch.randn(2 * PAIRS, ROWS, size, dtype=torch.float64) for size in (WIDTH, OUT))
    inputs[PAIRS:, :shared] = inputs[:PAIRS, :shared]
    if silent:
        grads[:, :shared] = 0
    factor = OuterProductSum(inputs, grads, with_bias=bias)
    sides = (inputs[:PAIRS], inputs[PAIRS:]), (grads[:PAIRS], grads[PAIRS:])
    assert ghost_is_cheaper(*sides, shared=shared, cached=False)
    layout = Layout(2 * PAIRS, (0, ROWS), (0, ROWS - 1 if silent else ROWS), shared, ROWS)
    if silent:
        grads[PAIRS:, -1] = 0  # rows that are cut off carry no gradient
    found = outer_pairs(factor, layout, InputGramCache())
    torch.testing.assert_close(found, flat_pairs(Materialized(factor.dense()), Layout(2 * PAIRS)), rtol=1e-12, atol=0)
