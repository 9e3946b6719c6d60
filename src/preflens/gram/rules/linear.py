"""`nn.Linear`, the matrices of LoRA among them: y = W x + b."""

import torch
from torch import Tensor, nn

from preflens.gram.capture.taps import ModuleCall
from preflens.gram.rules.base import LayerGradients, RuleContext, linear_claims, response_rows

# How much an entry may differ, as a share of the largest: half precision cancels. What computes something else is off
# by much more in some entry.
_SAME = 1e-2


def linear(call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    """Claim W and b: ∇W = Σ_t d_t ⊗ x_t, ∇b = Σ_t d_t.

    Args:
        call: of the module.
        request: what is asked.

    Returns:
        The claims.
    """
    inputs, (grads,) = _input(call), call.gradients
    assert grads is not None
    x, d = (response_rows(v, call.module, request.responses) for v in (inputs, grads))
    return linear_claims(x, d, request, bias=call.module.bias, input_first=False)


def is_linear(call: ModuleCall) -> bool:
    """Recognise a module that computes W x + b by another class than `nn.Linear`, from one row of numbers.

    Args:
        call: with its output kept.

    Returns:
        Whether it does.
    """
    weight, bias = (call.module._parameters.get(name) for name in ("weight", "bias"))
    known = set(call.module._parameters) <= {"weight", "bias"} and len(call.outputs) == 1
    if not known or weight is None or weight.ndim != 2 or not call.args or not isinstance(call.args[0], Tensor):
        return False
    inputs, output = call.args[0], call.outputs[0]
    if (inputs.shape[-1], output.shape[-1]) != (weight.shape[1], weight.shape[0]):
        return False
    x, y = inputs.reshape(-1, inputs.shape[-1])[:1], output.reshape(-1, output.shape[-1])[:1]
    found = nn.functional.linear(x.to(weight.dtype), weight, bias).to(y.dtype)
    return bool(torch.allclose(found, y, rtol=1e-2, atol=_SAME * float(y.abs().max())))


def _input(call: ModuleCall) -> Tensor:
    inputs: Tensor = call.args[0] if call.args else call.kwargs["input"]
    return inputs
