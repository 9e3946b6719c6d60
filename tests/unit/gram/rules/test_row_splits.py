"""Ways to find the rows of one response."""

import torch
from torch import nn

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.row_splits import row_splits


def rows_of(tensor, *others, responses):
    """What each way gives for response 1, in order."""
    call = ModuleCall(nn.Identity(), (tensor, *others), {}, (tensor,))
    return [split(tensor, responses, 1) for split in row_splits(call, responses)]


def test_a_first_axis_of_responses_comes_first():
    values = torch.arange(6.0).reshape(3, 2)
    ways = rows_of(values, responses=3)
    assert torch.equal(ways[0], values[1:2])


def test_flattened_rows_follow_each_other():
    values = torch.arange(6.0)
    (flat,) = rows_of(values, responses=3)
    assert flat.tolist() == [2, 3]
    (whole,) = rows_of(torch.arange(5.0), responses=3)  # five rows belong to no three responses
    assert len(whole) == 5


def test_streams_and_a_second_axis_are_tried_where_they_are_as_long():
    streams = torch.arange(24.0).reshape(4, 2, 1, 3)
    ways = rows_of(streams, responses=2)
    assert torch.equal(ways[1], streams[:, 1:2])
    second = torch.arange(10.0).reshape(5, 2)
    assert torch.equal(rows_of(second, responses=2)[-1], second[:, 1:2])


def test_numbers_and_single_values_stay_whole():
    single = torch.tensor(3.0)
    call = ModuleCall(nn.Identity(), (single, torch.zeros(2, 2)), {}, ())
    assert all(split(single, 2, 0) is single for split in row_splits(call, 2))
