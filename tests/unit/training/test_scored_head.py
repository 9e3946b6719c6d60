"""Log-probs of head rows and their gradients are those of autograd."""

import pytest
import torch

from preflens.training import scored_head
from preflens.types import HeadInput


@pytest.mark.parametrize("scores", [10**9, 1])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_log_probs_statistics_and_gradients_are_those_of_a_log_softmax(scores, cap, monkeypatch):
    monkeypatch.setattr(scored_head, "SCORES", scores)
    draw = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (7, 3), (7,))
    )
    targets, sent = torch.tensor([0, 6, 2, 2, 5]), torch.randn(5, generator=draw, dtype=torch.float64)
    head = HeadInput(hidden, weight, targets, torch.tensor([0, 0, 1, 1, 1]), 2, bias=bias, scale=0.5, soft_cap=cap)
    logps, entropy, mean, top = scored_head.ScoredHead.apply(hidden, weight, bias, head, None)
    found = torch.autograd.grad(logps, (hidden, weight, bias), sent)
    z = 0.5 * (hidden @ weight.T + bias)
    z = z if cap is None else cap * torch.tanh(z / cap)
    expected = z.log_softmax(1)
    chosen = expected.gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(logps, chosen)
    torch.testing.assert_close(entropy, -(expected.exp() * expected).sum(1))
    torch.testing.assert_close(mean, z.mean(1))
    assert torch.equal(top, z.argmax(1) == targets)
    for ours, theirs in zip(found, torch.autograd.grad(chosen, (hidden, weight, bias), sent), strict=True):
        torch.testing.assert_close(ours, theirs)
