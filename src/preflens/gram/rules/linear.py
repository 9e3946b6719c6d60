"""`nn.Linear`, including the matrices of LoRA: y = W x + b."""

import torch
from torch import Tensor, nn

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.base import LayerGradients, RuleContext, linear_gradients, response_rows

# How much an entry may differ, as a share of the largest: half precision cancels. A module that computes something else
# is off by much more in some entry.
_SAME = 1e-2


def linear(call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    """Return ∇W = Σ_t d_t ⊗ x_t and ∇b = Σ_t d_t, with d the output gradients.

    Args:
        call: of the module.
        context: names the parameters.

    Returns:
        The gradients.
    """
    (grads,) = call.gradients
    assert grads is not None
    inputs: Tensor = call.args[0] if call.args else call.kwargs["input"]
    x, d = (response_rows(v, call.module, context.responses) for v in (inputs, grads))
    return linear_gradients(x, d, context, bias=call.module.bias, input_first=False)


def is_linear(call: ModuleCall) -> bool:
    """Recognize a module of another class than `nn.Linear` that computes W x + b, from one row of numbers.

    Args:
        call: with its output.

    Returns:
        Whether the module is linear.
    """
    weight, bias = (call.module._parameters.get(name) for name in ("weight", "bias"))
    known = set(call.module._parameters) <= {"weight", "bias"} and len(call.outputs) == 1
    if not known or weight is None or weight.ndim != 2 or not call.args or not isinstance(call.args[0], Tensor):
        return False
    inputs, output = call.args[0], call.outputs[0]
    if (inputs.shape[-1], output.shape[-1]) != (weight.shape[1], weight.shape[0]):
        return False
    x, y = inputs.reshape(-1, inputs.shape[-1])[:1], output.reshape(-1, output.shape[-1])[:1]
    expected = nn.functional.linear(x.to(weight.dtype), weight, bias).to(y.dtype)
    return bool(torch.allclose(expected, y, rtol=1e-2, atol=_SAME * float(y.abs().max())))
