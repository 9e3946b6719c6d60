"""Selections and scores of the input of a head."""

import torch

from preflens.gram.factors.head_scores import detached, row_bounds, scores_of, taken
from preflens.types import HeadInput


def head(**changes):
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 3, generator=draw, dtype=torch.float64) for n in (4, 6))
    bias = torch.randn(6, generator=draw, dtype=torch.float64).requires_grad_()
    index = torch.tensor([0, 0, 2, 3])
    return HeadInput(
        hidden.requires_grad_(), weight, torch.tensor([5, 0, 1, 2]), index, responses=4, bias=bias, **changes
    )


def test_rows_are_taken_by_slice_and_by_index():
    for rows in (slice(1, 3), torch.tensor([1, 2])):
        part = taken(head(), rows)
        assert part.targets.tolist() == [0, 1]
        assert part.response_index.tolist() == [0, 2]
        assert torch.equal(part.hidden, head().hidden[1:3])
        assert part.responses == 4


def test_bounds_count_responses_without_rows():
    assert row_bounds(head()) == [0, 2, 2, 3, 4]


def test_detached_input_has_the_same_numbers_and_no_graph():
    cut = detached(head())
    assert not cut.hidden.requires_grad
    assert not cut.bias.requires_grad
    assert torch.equal(cut.hidden, head().hidden)


def test_scores_and_their_slopes_are_those_of_autograd():
    for changes in ({}, {"scale": 0.5}, {"scale": 0.5, "soft_cap": 2.0}):
        h = detached(head(**changes))
        raw = (h.hidden @ h.weight.T + h.bias)[:, 1:4].requires_grad_()
        expected = h.scale * raw
        if h.soft_cap is not None:
            expected = h.soft_cap * torch.tanh(expected / h.soft_cap)
        (slope,) = torch.autograd.grad(expected.sum(), raw)
        scores, found = scores_of(h, slice(1, 4))
        torch.testing.assert_close(scores, expected.detach())
        torch.testing.assert_close(torch.ones_like(slope) if found is None else found.expand_as(slope), slope)
