"""Gradients that are kept for later."""

import pytest
import torch
from torch import nn

from preflens.gram import brute_force_pair_gram
from preflens.gram.readers.stored_gradients import per_response_gradients
from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(4, 9, 3)
INDEX = torch.arange(4).repeat_interleave(9)
TARGETS = torch.arange(36) % 5


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2).double(), nn.Linear(2, 5).double()

    def head_input(self):
        hidden = torch.tanh(self.layer(X)).flatten(0, 1)
        return HeadInput(hidden, self.head.weight, TARGETS, INDEX, responses=4, bias=self.head.bias)


def test_the_gram_within_pairs_is_that_of_brute_force_block_by_block():
    model = Model()
    gradients = per_response_gradients(model, model.head_input)
    expected = brute_force_pair_gram(model, model.head_input, by="module")
    gram = gradients.pair_gram(by="module")
    assert gram.blocks == expected.blocks
    torch.testing.assert_close(gram.inner_product, expected.inner_product)
    torch.testing.assert_close(gradients.logps, expected_logps(model))


def expected_logps(model):
    logps = torch.log_softmax(model.head(torch.tanh(model.layer(X))), -1).flatten(0, 1)
    return torch.zeros(4).double().index_add(0, INDEX, logps.detach()[torch.arange(36), TARGETS])


def test_memory_is_that_of_formed_gradients_hidden_rows_and_scores():
    model = Model()
    gradients = per_response_gradients(model, model.head_input)
    formed, hidden, scores = 4 * (6 + 2) * 8, 36 * 2 * 8, 36 * 5 * 8
    assert gradients.taken == formed
    assert gradients.bytes == formed + hidden + scores


@pytest.mark.parametrize("pin", [False, True])
def test_a_head_whose_scores_are_not_kept_is_pinned_by_a_copy_of_its_weight(pin, monkeypatch):
    monkeypatch.setattr("preflens.gram.readers.stored_gradients.SCORES", 1)
    model = Model()
    gradients = per_response_gradients(model, model.head_input, pin=pin)
    update = torch.randn(5, 2).double()
    before = gradients.head_inner_products(model.head.weight, slice(0, 5), [update])
    with torch.no_grad():
        model.head.weight.add_(1.0)
        model.head.weight[0].add_(1.0)
    after = gradients.head_inner_products(model.head.weight, slice(0, 5), [update])
    assert torch.equal(after, before) == pin
