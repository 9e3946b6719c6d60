"""Which rows of a module can carry a gradient."""

import torch

from preflens.gram.factors.layout import Layout, layout_of
from preflens.types import TokenRows

ROWS = TokenRows(torch.tensor([1, 1, 1, 1]), torch.tensor([20, 18, 40, 10]), torch.tensor([5, 9]), 64)


def test_each_side_ends_at_its_longest_response_rounded_up_to_a_multiple_of_sixteen():
    layout = layout_of(4, ROWS, equal_inputs=True)
    assert layout.chosen == (1, 33)  # 19 rows become 32
    assert layout.rejected == (1, 49)  # 39 rows become 48
    assert layout.shared == 5  # by every pair


def test_rows_are_not_rounded_up_beyond_the_tensor():
    narrow = TokenRows(ROWS.start, ROWS.end, ROWS.shared, 42)
    assert layout_of(4, narrow, equal_inputs=True).rejected == (1, 42)


def test_nothing_is_shared_under_dropout_or_where_rows_begin_at_different_places():
    assert layout_of(4, ROWS, equal_inputs=False).shared == 0
    padded_left = TokenRows(torch.tensor([1, 1, 1, 2]), ROWS.end, ROWS.shared, 64)
    assert layout_of(4, padded_left, equal_inputs=True).shared == 0


def test_without_hints_nothing_is_cut():
    layout = layout_of(6, None, equal_inputs=True)
    values = torch.randn(6, 7, 2)
    assert layout == Layout(6)
    assert layout.pairs == 3
    assert layout.cut(values) is values
    assert [len(side) for side in layout.sides(values)] == [3, 3]


def test_tensors_are_cut_where_their_rows_are_the_positions_and_left_whole_elsewhere():
    layout = Layout(2, (1, 3), (1, 5), 1, width=6)
    values = torch.arange(12.0).reshape(2, 6, 1)
    chosen, rejected = layout.sides(values)
    assert chosen.flatten().tolist() == [1, 2]
    assert rejected.flatten().tolist() == [7, 8, 9, 10]
    assert layout.cut(values).shape == (2, 4, 1)
    heads = torch.zeros(2, 12, 1)
    assert not layout.applies(heads)
    assert layout.cut(heads) is heads


def test_shared_rows_are_left_out_only_if_no_gradient_arrives_there():
    layout = Layout(2, (1, 5), (1, 6), shared=2, width=6)
    grads = torch.zeros(2, 6, 3)
    grads[:, 3:] = 1
    assert layout.narrowed(grads) == Layout(2, (3, 5), (3, 6), 0, 6)
    grads[1, 2, 2] = 1e-30
    assert layout.narrowed(grads) is layout
