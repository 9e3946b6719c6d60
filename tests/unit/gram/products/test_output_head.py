"""The pass through a head against autograd."""

import pytest
import torch

from preflens.gram.factors.scored_rows import head_logps, score_once
from preflens.gram.products import output_head
from preflens.gram.products.output_head import head_pass
from preflens.types import HeadInput

INDEX = torch.tensor([0, 0, 1, 1, 2, 3])


def head():
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 3, generator=draw, dtype=torch.float64) for n in (6, 8))
    bias = torch.randn(8, generator=draw, dtype=torch.float64)
    targets = torch.tensor([0, 7, 3, 3, 1, 2])
    return HeadInput(hidden.requires_grad_(), weight, targets, INDEX, responses=4, bias=bias, scale=0.5, soft_cap=2.0)


@pytest.mark.parametrize("scores", [1 << 26, 4], ids=["whole vocabulary", "slices"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("parts", [None, [[0, 1, 4], [2, 3, 5]]], ids=["one part", "two parts"])
def test_log_probs_and_the_gradient_of_hidden_rows_are_those_of_autograd(parts, known, scores, monkeypatch):
    monkeypatch.setattr(output_head, "SCORES", scores)
    monkeypatch.setattr("preflens.gram.factors.scored_rows.SCORES", scores)
    h, weights = head(), torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (expected,) = torch.autograd.grad((head_logps(h) * weights).sum(), h.hidden)
    seen = torch.zeros(6, 8, dtype=torch.float64)
    tensors = None if parts is None else [torch.tensor(part) for part in parts]

    def visit(number, rows, columns, gradient):
        seen[torch.arange(6) if tensors is None else tensors[number], columns] += gradient

    result = head_pass(h, visit, parts=tensors, weights=weights, scored=score_once(h) if known else None)
    torch.testing.assert_close(result.rows.logps(), head_logps(h).detach())
    torch.testing.assert_close(result.hidden_gradient, expected)
    torch.testing.assert_close(seen, score_once(h)[1])  # every row and column once, without the weights


def test_nothing_is_sent_back_where_it_is_not_needed():
    result = head_pass(head(), lambda *_: None, send_back=False)
    assert not result.hidden_gradient.any()
    torch.testing.assert_close(result.rows.logps(), head_logps(head()).detach())
