"""Norms with a gain, and perhaps a bias, for each feature: y = x̂(x) ∘ (w + c) + b.

`nn.LayerNorm` is known; RMS norms come under a dozen names and in two forms (c = 0 and Gemma's c = 1). They are
recognised by what they compute: a module whose output is, feature by feature, linear in its own weight.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from preflens.gram.capture.taps import ModuleCall
from preflens.gram.factors.factors import Materialized
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext, check_row_counts

# A feature whose gain is smaller than this share of the largest is not divided by it.
_DIVISIBLE = 1e-2


@dataclass(frozen=True)
class _Form:
    """Which weights give x̂: y at `on` less y at `off`, without bias.

    Attributes:
        on: value of every entry of the weight.
        off: the same for what is taken off; None for nothing.
    """

    on: float
    off: float | None

    def divides(self, module: nn.Module) -> bool:
        """Tell whether x̂ can be got from the output by a division: no bias, and no gain near zero."""
        if self.off is not None or module._parameters.get("bias") is not None:
            return False
        size = self.gain(module).abs()
        return bool(size.min() > _DIVISIBLE * size.max())

    def gain(self, module: nn.Module) -> Tensor:
        """Return what x̂ is multiplied by."""
        weight = module._parameters["weight"]
        assert weight is not None
        return weight.detach() + (1 - self.on)


# Found once a module: its form does not change with its weights.
_FORMS: WeakKeyDictionary[nn.Module, _Form | None] = WeakKeyDictionary()


def layer_norm(call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    """Claim the gain and the bias of `nn.LayerNorm`.

    Args:
        call: of the module.
        request: what is asked.

    Returns:
        The claims.
    """
    module = call.module
    assert isinstance(module, nn.LayerNorm)
    inputs = call.args[0] if call.args else call.kwargs["input"]
    normalized = nn.functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    return _claims(normalized, call, request)


def norm(call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    """Claim the gain and the bias of a module that has a form (`norm_form`).

    Args:
        call: of the module.
        request: what is asked.

    Returns:
        The claims.
    """
    form = _FORMS[call.module]
    assert form is not None
    if call.outputs:  # kept where they can be divided
        return _claims(call.outputs[0] / form.gain(call.module), call, request)
    with request.untapped():
        normalized = _with_weight(call, form.on)
        if form.off is not None:
            normalized = normalized - _with_weight(call, form.off)
    return _claims(normalized, call, request)


def norm_form(call: ModuleCall) -> "_Form | None":
    """Recognise a module whose output is linear in its own weight, feature by feature.

    Args:
        call: with its output kept; taps are switched off.

    Returns:
        Its form, or None if it is something else.
    """
    if call.module not in _FORMS:
        _FORMS[call.module] = _find_form(call)
    return _FORMS[call.module]


def _find_form(call: ModuleCall) -> _Form | None:
    parameters = {name: p for name, p in call.module._parameters.items() if p is not None}
    if not set(parameters) <= {"weight", "bias"} or "weight" not in parameters or len(call.outputs) != 1:
        return None
    inputs = [v for v in (*call.args, *call.kwargs.values()) if isinstance(v, Tensor)]
    width = (parameters["weight"].numel(),)
    output = call.outputs[0]
    if len(inputs) != 1 or inputs[0].shape != output.shape or any(p.shape != width for p in parameters.values()):
        return None
    if output.shape[-1:] != width or not inputs[0].is_floating_point():
        return None
    zero, one, actual = (_with_weight(call, w) for w in (0.0, 1.0, parameters["weight"].detach()))
    expected = zero + (one - zero) * parameters["weight"].detach()
    if not torch.allclose(actual.float(), expected.float(), rtol=2e-2, atol=1e-2 * float(actual.abs().max())):
        return None
    if not bool(zero.any()):
        return _Form(1.0, None)
    return _Form(0.0, None) if torch.allclose(one, 2 * zero, rtol=1e-2) else _Form(1.0, 0.0)


def _with_weight(call: ModuleCall, weight: float | Tensor) -> Tensor:
    """What the module would return with another weight and no bias."""
    own = {name: p for name, p in call.module._parameters.items() if p is not None}
    given = {name: torch.zeros_like(p) for name, p in own.items()}
    given["weight"] = weight if isinstance(weight, Tensor) else torch.full_like(own["weight"], weight)
    with torch.no_grad():
        result: Tensor = functional_call(call.module, given, call.args, call.kwargs)
    return result


def _claims(normalized: Tensor, call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    (grads,) = call.gradients
    assert grads is not None
    check_row_counts(len(grads), call.module, request.responses)
    x, d = (v.reshape(request.responses, -1, v.shape[-1]) for v in widen(normalized, grads))
    gradients = {"weight": lambda: (x * d).sum(1), "bias": lambda: d.sum(1)}
    return [LayerGradients((name,), Materialized(gradients[name]())) for name in request.wanted]
