"""Layer rules: per-response gradients of a module's parameters from its inputs and output gradients.

`LAYER_RULES` is by exact class. Subclasses are not matched, because they may override `forward`. A module of another
class is recognized by its numbers where that is possible, and differentiated response by response otherwise.
Recognition happens when a call is made, because later the model may change inputs or outputs in place.
"""

from functools import partial

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from preflens.gram.capture.calls import CHANGED, Keep, ModuleCall, Reading
from preflens.gram.capture.taps import Recognize, TapState
from preflens.gram.rules.any_module import any_module
from preflens.gram.rules.base import LayerGradients, LayerRule, LayerRules, RuleContext
from preflens.gram.rules.conv1d import conv1d
from preflens.gram.rules.embedding import embedding, embedding_scale
from preflens.gram.rules.linear import is_linear, linear
from preflens.gram.rules.norm import layer_norm, norm, norm_form

LAYER_RULES: LayerRules = {
    nn.Linear: linear,
    Conv1D: conv1d,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
}

__all__ = ["LAYER_RULES", "LayerGradients", "LayerRule", "LayerRules", "RuleContext", "recognize", "recognizer_of"]


def recognizer_of(module: nn.Module, *, whole: bool, rules: LayerRules) -> Recognize:
    """Return the function that finds a rule for each call of a module.

    Args:
        module: a module that gradients are read off.
        whole: whether parameters of modules inside it are read off it, too.
        rules: of the user, by exact class; they have precedence over all others.

    Returns:
        The function.
    """
    rule = rules.get(type(module))
    if rule is not None:
        reading = Reading(rule, Keep.NOTHING)
        return lambda _call, _state: reading
    return _recognize_whole if whole else recognize


def recognize(call: ModuleCall, state: TapState) -> Reading:
    """Find the rule for a call.

    Args:
        call: of a module that owns parameters, as it is made.
        state: of the taps.

    Returns:
        The rule, and what it needs of the outputs.
    """
    rule = LAYER_RULES.get(type(call.module))
    if rule is not None:
        return Reading(rule, Keep.NOTHING)
    with torch.no_grad(), torch.autocast(call.outputs[0].device.type, enabled=False), state.switched_off():
        if is_linear(call):
            return Reading(linear, Keep.NOTHING)
        scale = embedding_scale(call)
        if scale is not None:
            return Reading(partial(embedding, scale=scale), Keep.NOTHING)
        form = norm_form(call)
    if form is None:
        return _recognize_whole(call, state)
    divided = call.module not in CHANGED and form.divides(call.module)
    return Reading(norm, Keep.ALIAS if divided else Keep.NOTHING)


def _recognize_whole(call: ModuleCall, state: TapState) -> Reading:  # noqa: ARG001  # as `recognize`
    """The rule that differentiates any module as a whole."""
    return Reading(any_module, Keep.COPY)
