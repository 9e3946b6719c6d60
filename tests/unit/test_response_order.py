"""The order in which responses of several passes are put together."""

import torch

from preflens.response_order import chosen_first


def test_chosen_responses_of_all_passes_come_first():
    assert chosen_first([2, 4]).tolist() == [0, 2, 3, 1, 4, 5]
    assert chosen_first([6]).tolist() == [0, 1, 2, 3, 4, 5]


def test_every_response_is_there_once_and_the_first_half_is_chosen():
    counts = [4, 2, 8]
    is_chosen = torch.cat([torch.arange(count) < count // 2 for count in counts])
    order = chosen_first(counts)
    assert sorted(order.tolist()) == list(range(14))
    assert is_chosen[order].tolist() == [True] * 7 + [False] * 7
