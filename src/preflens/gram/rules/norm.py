"""Norms with a gain, and perhaps a bias, for each feature: y = x̂(x) ∘ (w + c) + b.

`nn.LayerNorm` is known by class. RMS norms have a dozen names and two forms (c = 0, and Gemma's c = 1). They are
recognized by what they compute: the output is, feature by feature, linear in the module's own weight.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.factors.factors import Materialized
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext, check_row_counts

# The output is not divided by gains that are smaller than this share of the largest.
_DIVISIBLE = 1e-2


@dataclass(frozen=True)
class NormForm:
    """How to compute x̂: y with every weight `on`, less y with every weight `off`, both without bias.

    Attributes:
        on: value of every entry of the weight in the first term.
        off: value of every entry of the weight in the second term; None where it is zero.
    """

    on: float
    off: float | None

    def divides(self, module: nn.Module) -> bool:
        """Return whether x̂ is the output divided by the gain: no bias, and no gain near zero."""
        if self.off is not None or module._parameters.get("bias") is not None:
            return False
        size = self.gain(module).abs()
        return bool(size.min() > _DIVISIBLE * size.max())

    def gain(self, module: nn.Module) -> Tensor:
        """Return w + c."""
        weight = module._parameters["weight"]
        assert weight is not None
        return weight.detach() + (1 - self.on)


# Determined once per module: the form does not change with the weights.
_FORMS: WeakKeyDictionary[nn.Module, NormForm | None] = WeakKeyDictionary()


def layer_norm(call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    """Return the gradients of the gain and the bias of `nn.LayerNorm`.

    Args:
        call: of the module.
        context: names the parameters.

    Returns:
        The gradients.
    """
    module = call.module
    assert isinstance(module, nn.LayerNorm)
    inputs = call.args[0] if call.args else call.kwargs["input"]
    normalized = nn.functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    return _gradients(normalized, call, context)


def norm(call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    """Return the gradients of the gain and the bias of a module that has a form (see `norm_form`).

    Args:
        call: of the module.
        context: names the parameters.

    Returns:
        The gradients.
    """
    form = _FORMS[call.module]
    assert form is not None
    if call.outputs:  # kept where they can be divided
        return _gradients(call.outputs[0] / form.gain(call.module), call, context)
    with context.untapped():
        normalized = _with_weight(call, form.on)
        if form.off is not None:
            normalized = normalized - _with_weight(call, form.off)
    return _gradients(normalized, call, context)


def norm_form(call: ModuleCall) -> NormForm | None:
    """Recognize a module whose output is linear in its own weight, feature by feature.

    Args:
        call: with its output; taps are switched off.

    Returns:
        Its form, or None where it is another module.
    """
    if call.module not in _FORMS:
        _FORMS[call.module] = _find_form(call)
    return _FORMS[call.module]


def _find_form(call: ModuleCall) -> NormForm | None:
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
        return NormForm(1.0, None)
    return NormForm(0.0, None) if torch.allclose(one, 2 * zero, rtol=1e-2) else NormForm(1.0, 0.0)


def _with_weight(call: ModuleCall, weight: float | Tensor) -> Tensor:
    """The output of the module with another weight and no bias."""
    parameters = {name: p for name, p in call.module._parameters.items() if p is not None}
    values = {name: torch.zeros_like(p) for name, p in parameters.items()}
    values["weight"] = weight if isinstance(weight, Tensor) else torch.full_like(parameters["weight"], weight)
    with torch.no_grad():
        result: Tensor = functional_call(call.module, values, call.args, call.kwargs)
    return result


def _gradients(normalized: Tensor, call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    (grads,) = call.gradients
    assert grads is not None
    check_row_counts(len(grads), call.module, context.responses)
    x, d = (v.reshape(context.responses, -1, v.shape[-1]) for v in widen(normalized, grads))
    formulas = {"weight": lambda: (x * d).sum(1), "bias": lambda: d.sum(1)}
    return [LayerGradients((name,), Materialized(formulas[name]())) for name in context.parameters]
