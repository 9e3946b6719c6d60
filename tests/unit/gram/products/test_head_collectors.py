"""Products of a head's weight, collected part by part."""

import pytest
import torch

from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.products import head_collectors
from preflens.gram.products.head_collectors import BatchHead, HeadBias, PairHead
from preflens.gram.products.output_head import head_pass
from preflens.types import HeadInput

LENGTHS = [2, 1, 3, 1, 4, 2]  # of three chosen and three rejected responses


def head():
    draw = torch.Generator().manual_seed(0)
    index = torch.arange(6).repeat_interleave(torch.tensor(LENGTHS))
    hidden, weight = (torch.randn(n, 3, generator=draw, dtype=torch.float64) for n in (len(index), 8))
    targets = torch.randint(8, (len(index),), generator=draw)
    return HeadInput(hidden, weight, targets, index, responses=6, bias=torch.zeros(8, dtype=torch.float64))


def gradients(*, bias):
    h = head()
    weight, offset = h.weight.clone().requires_grad_(), h.bias.clone().requires_grad_()
    logps = torch.log_softmax(h.hidden @ weight.T + offset, 1).gather(1, h.targets[:, None])[:, 0]
    rows = []
    for response in range(6):
        grads = torch.autograd.grad(logps[h.response_index == response].sum(), [weight, offset], retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in (grads if bias else grads[:1])]))
    return torch.stack(rows)


def collected(collector, h):
    head_pass(h, collector.visit, parts=collector.parts())
    return collector.products


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scores", [1 << 26, 8 * 2 * 4, 1], ids=["one part", "some pairs", "pair by pair"])
def test_products_within_pairs_are_those_of_autograd(bias, scores, monkeypatch):
    monkeypatch.setattr(head_collectors, "SCORES", scores)
    g = gradients(bias=bias)
    collector = PairHead(head(), bias=bias)
    assert sum(map(len, collector.parts())) == sum(LENGTHS)
    assert (len(collector.parts()) == 1) == (scores == 1 << 26)
    expected = torch.stack([g[:3].square().sum(1), g[3:].square().sum(1), (g[:3] * g[3:]).sum(1)])
    torch.testing.assert_close(collected(collector, head()), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_the_gram_of_all_responses_is_that_of_autograd(bias):
    g = gradients(bias=bias)
    torch.testing.assert_close(collected(BatchHead(head(), bias=bias), head()), g @ g.T)


def test_the_gradient_of_a_bias_is_collected_slice_by_slice(monkeypatch):
    monkeypatch.setattr("preflens.gram.products.output_head.SCORES", 10)
    monkeypatch.setattr("preflens.gram.factors.scored_rows.SCORES", 26)  # two columns of thirteen rows
    collector = HeadBias(head())
    head_pass(head(), collector.visit)
    torch.testing.assert_close(collector.values, gradients(bias=True)[:, -8:])
    torch.testing.assert_close(softmax_rows(head()).dense(), gradients(bias=False))
