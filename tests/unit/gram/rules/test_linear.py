"""Linear maps by their class and by their numbers."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import RuleContext
from preflens.gram.rules.linear import is_linear, linear
from tests.cases.layers import LinearByAnotherName, Quadratic


def context(responses, names=("weight", "bias")):
    return RuleContext(responses, names, frozenset(names), (names,), nullcontext)


def test_weight_and_bias_get_the_gradients_of_autograd():
    layer, x, d = nn.Linear(3, 2).double(), torch.randn(4, 5, 3).double(), torch.randn(4, 5, 2).double()
    (part,) = linear(ModuleCall(layer, (x,), {}, (), (d,)), context(4))
    assert part.parameters == ("weight", "bias")
    for i, found in enumerate(part.factor.dense()):
        grads = torch.autograd.grad((layer(x[i]) * d[i]).sum(), [layer.weight, layer.bias])
        torch.testing.assert_close(found, torch.cat([g.flatten() for g in grads]))


def test_only_parameters_that_are_asked_for_are_returned():
    layer, x, d = nn.Linear(3, 2).double(), torch.randn(2, 1, 3).double(), torch.randn(2, 1, 2).double()
    call = ModuleCall(layer, (), {"input": x}, (), (d,))
    assert [part.parameters for part in linear(call, context(2, ("weight",)))] == [("weight",)]
    (bias,) = linear(call, context(2, ("bias",)))
    torch.testing.assert_close(bias.factor.dense(), d.sum(1))
    shared = RuleContext(2, ("weight", "bias"), frozenset({"bias"}), (("weight",), ("bias",)), nullcontext)
    assert [part.parameters for part in linear(call, shared)] == [("weight",), ("bias",)]


def test_flattened_rows_belong_to_responses_in_their_order():
    layer, x, d = nn.Linear(3, 2, bias=False).double(), torch.randn(6, 3).double(), torch.randn(6, 2).double()
    (part,) = linear(ModuleCall(layer, (x,), {}, (), (d,)), context(2, ("weight",)))
    torch.testing.assert_close(part.factor.dense()[1], (d[3:].T @ x[3:]).flatten())
    with pytest.raises(UnreadableGradientError, match="`Linear` saw 6 row.s. for 4 responses"):
        linear(ModuleCall(layer, (x,), {}, (), (d,)), context(4, ("weight",)))


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (LinearByAnotherName(3, 2), True),
        (nn.Linear(3, 2, bias=False), True),
        (Twice(3, 2), False),
        (Quadratic(3), False),
    ],
)
def test_a_module_is_linear_if_its_numbers_are(layer, expected):
    x = torch.randn(2, 3)
    assert is_linear(ModuleCall(layer, (x,), {}, (layer(x).detach(),))) == expected
