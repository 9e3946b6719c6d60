"""Row Grams of inputs, and when they are used again."""

import torch

from preflens.gram.factors.layout import Layout
from preflens.gram.products.input_grams import InputGramCache, input_grams, row_gram


def test_rows_that_both_responses_share_are_multiplied_once():
    inputs = torch.randn(2, 6, 3, dtype=torch.float64)
    grams = input_grams(inputs, Layout(2, (0, 4), (0, 6), shared=2, width=6))
    chosen, own = inputs[:1, :4], inputs[1:, 2:]
    assert grams.shared == 2
    torch.testing.assert_close(grams.chosen, chosen @ chosen.mT)
    torch.testing.assert_close(grams.cross, chosen @ own.mT)
    torch.testing.assert_close(grams.rejected, own @ own.mT)


def test_row_grams_are_inner_products_batch_by_batch():
    a, b = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    torch.testing.assert_close(row_gram(a, b), torch.einsum("brf,bsf->brs", a, b))


def test_the_same_memory_in_the_same_layout_is_multiplied_once():
    cache, inputs, layout = InputGramCache(), torch.randn(4, 3, 2), Layout(4)
    grams = cache.get(inputs, layout)
    assert cache.get(inputs.view(4, 3, 2), layout) is grams
    assert not cache.holds(inputs.clone(), layout)
    assert not cache.holds(inputs[:, :2], layout)
    assert not cache.holds(inputs, Layout(2))
    assert cache.get(inputs.clone(), layout) is not grams
