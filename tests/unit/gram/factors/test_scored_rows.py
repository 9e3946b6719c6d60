"""Log-probs of scored rows, a slice of the vocabulary at a time."""

import pytest
import torch

from preflens.gram.factors import scored_rows as module
from preflens.gram.factors.scored_rows import head_logps, score_once, softmax_rows
from preflens.types import HeadInput

VOCABULARY, ROWS = 50, 9


def a_head(*, soft_cap=None, scale=1.0, ruled_out=0):
    draw = torch.Generator().manual_seed(0)
    bias = torch.randn(VOCABULARY, generator=draw, dtype=torch.float64)
    bias[VOCABULARY - ruled_out :] = -torch.inf
    return HeadInput(
        torch.randn(ROWS, 4, generator=draw, dtype=torch.float64),
        torch.randn(VOCABULARY, 4, generator=draw, dtype=torch.float64),
        torch.randint(0, VOCABULARY - ruled_out, (ROWS,), generator=draw),
        torch.arange(ROWS) % 2,
        2,
        bias=bias,
        soft_cap=soft_cap,
        scale=scale,
    )


@pytest.mark.parametrize("rows_at_once", [100, 4])
@pytest.mark.parametrize("width", [1, 7, 16, 50])
@pytest.mark.parametrize("head", [{}, {"soft_cap": 3.0, "scale": 0.5}, {"ruled_out": 20}], ids=str)
def test_slices_add_up_to_the_whole(head, width, rows_at_once, monkeypatch):
    given = a_head(**head)
    monkeypatch.setattr(module, "_NARROWEST", width)
    monkeypatch.setattr(module, "_SLICE", 1)
    monkeypatch.setattr(module, "SCORES", width * rows_at_once)
    found = softmax_rows(given)
    whole, _ = score_once(given)
    torch.testing.assert_close(found.normalizer, whole.normalizer)
    torch.testing.assert_close(found.target_score, whole.target_score)
    torch.testing.assert_close(found.logps(), head_logps(given))


@pytest.mark.parametrize("head", [{}, {"soft_cap": 3.0, "scale": 0.5}, {"ruled_out": 20}], ids=str)
def test_gradients_of_the_scores_add_up_to_the_gradients_of_the_bias(head):
    given = a_head(**head)
    given.bias.requires_grad_()
    expected = torch.stack([torch.autograd.grad(v, given.bias, retain_graph=True)[0] for v in head_logps(given)])
    _, gradient = score_once(given)
    for u in (gradient, softmax_rows(given).gradient_at(slice(None))):
        found = torch.zeros_like(expected).index_add(0, given.response_index, u.detach())
        torch.testing.assert_close(found, expected)
