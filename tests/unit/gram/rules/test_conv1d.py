"""GPT-2's transposed linear map."""

from contextlib import nullcontext

import torch
from transformers.pytorch_utils import Conv1D

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import RuleContext
from preflens.gram.rules.conv1d import conv1d


def test_weight_and_bias_get_the_gradients_of_autograd():
    layer, x, d = Conv1D(2, 3).double(), torch.randn(4, 5, 3).double(), torch.randn(4, 5, 2).double()
    names = ("weight", "bias")
    context = RuleContext(4, names, frozenset(names), (names,), nullcontext)
    for args, kwargs in (((x,), {}), ((), {"x": x})):
        (part,) = conv1d(ModuleCall(layer, args, kwargs, (), (d,)), context)
        for i, found in enumerate(part.factor.dense()):
            grads = torch.autograd.grad((layer(x[i]) * d[i]).sum(), [layer.weight, layer.bias])
            torch.testing.assert_close(found, torch.cat([g.flatten() for g in grads]))
