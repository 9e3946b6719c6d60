"""Norms by their class and by their numbers."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import RuleContext
from preflens.gram.rules.norm import NormForm, layer_norm, norm, norm_form
from tests.cases.layers import Quadratic, spread

X, D = (torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(k)) for k in (0, 1))


class LayerNormByAnotherName(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x):
        return nn.functional.layer_norm(x, (4,)) * self.weight + self.bias


def context(layer):
    names = tuple(name for name, _ in layer.named_parameters())
    return RuleContext(2, names, frozenset(names), tuple((name,) for name in names), nullcontext)


def assert_equals_autograd(parts, layer):
    assert [part.parameters for part in parts] == [(name,) for name, _ in layer.named_parameters()]
    for part, (_, parameter) in zip(parts, layer.named_parameters(), strict=True):
        for i, found in enumerate(part.factor.dense()):
            (expected,) = torch.autograd.grad((layer(X[i]) * D[i]).sum(), parameter)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm():
    layer = spread(nn.LayerNorm(4))
    assert_equals_autograd(layer_norm(ModuleCall(layer, (X,), {}, (), (D,)), context(layer)), layer)


FORMS = [
    (LlamaRMSNorm, NormForm(1.0, None)),
    (Gemma2RMSNorm, NormForm(0.0, None)),
    (lambda _: LayerNormByAnotherName(), NormForm(1.0, None)),
]


@pytest.mark.parametrize("divided", [False, True], ids=["computed again", "divided"])
@pytest.mark.parametrize(("make", "form"), FORMS, ids=["llama", "gemma", "layer norm"])
def test_norms_are_recognized_by_their_form(make, form, divided):
    layer = spread(make(4))
    output = layer(X).detach()
    assert norm_form(ModuleCall(layer, (X,), {}, (output,))) == form
    if divided and not form.divides(layer):
        assert getattr(layer, "bias", None) is not None or form.gain(layer).abs().min() < 0.01 * form.gain(layer).max()
        return
    call = ModuleCall(layer, (X,), {}, (output,) if divided else (), (D,))
    assert_equals_autograd(norm(call, context(layer)), layer)


def test_a_gain_near_zero_or_a_bias_cannot_be_divided_out():
    layer = LlamaRMSNorm(4)
    assert NormForm(1.0, None).divides(layer)
    with torch.no_grad():
        layer.weight[2] = 1e-3
    assert not NormForm(1.0, None).divides(layer)
    assert not NormForm(1.0, None).divides(LayerNormByAnotherName())


def test_other_modules_are_no_norms():
    for layer in (Quadratic(4), nn.Linear(4, 4)):
        assert norm_form(ModuleCall(layer, (X,), {}, (layer(X).detach(),))) is None
