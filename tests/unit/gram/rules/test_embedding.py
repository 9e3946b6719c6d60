"""Embeddings, with padding and with a scale."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import RuleContext
from preflens.gram.rules.embedding import embedding, embedding_scale

IDS = torch.tensor([[0, 2, 2], [1, 3, 0]])


class Scaled(nn.Embedding):
    by = 3.0

    def forward(self, ids):
        return self.by * super().forward(ids)


class Shifted(nn.Embedding):
    def forward(self, ids):
        return super().forward(ids) + 1


def context(responses):
    return RuleContext(responses, ("weight",), frozenset({"weight"}), (("weight",),), nullcontext)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_table_gets_the_gradients_of_autograd_and_the_padding_index_none(scale):
    layer, d = Scaled(4, 2, padding_idx=2).double(), torch.randn(2, 3, 2).double()
    layer.by = scale
    (part,) = embedding(ModuleCall(layer, (IDS,), {}, (), (d,)), context(2), scale=scale)
    for i, found in enumerate(part.factor.dense()):
        (expected,) = torch.autograd.grad((layer(IDS[i]) * d[i]).sum(), layer.weight)
        torch.testing.assert_close(found, expected.flatten())


def test_a_row_that_is_looked_up_once_for_all_responses_is_refused():
    call = ModuleCall(nn.Embedding(4, 2), (IDS[:1],), {}, (), (torch.ones(1, 3, 2),))
    with pytest.raises(UnsupportedModelError, match="`Embedding` saw 1 row.*one row per response"):
        embedding(call, context(2))


def test_a_scale_is_recognized_by_numbers_and_anything_else_is_not():
    for layer, expected in (
        (Scaled(4, 2), 3.0),
        (nn.Embedding(4, 2), 1.0),
        (Shifted(4, 2), None),
        (nn.Linear(2, 2), None),
    ):
        output = layer(torch.randn(2, 2)) if isinstance(layer, nn.Linear) else layer(IDS)
        scale = embedding_scale(ModuleCall(layer, (IDS,), {}, (output.detach(),)))
        assert scale == (None if expected is None else pytest.approx(expected))


def test_padding_alone_tells_no_scale():
    layer, ids = nn.Embedding(4, 2, padding_idx=0), torch.zeros(1, 2, dtype=torch.long)
    assert embedding_scale(ModuleCall(layer, (ids,), {}, (layer(ids).detach(),))) is None
